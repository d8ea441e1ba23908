/** A peer, or what the comparison with it needs, is not here and could not be installed: that bench is left out. */
export class PeerMissing extends Error {}
