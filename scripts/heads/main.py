"""Does torchgraft find the heads of timm's networks? Each is made with random weights, scripted, and taken the whole way.

    npm run heads             (the Python in $PYTHON, or python3, with torch and timm)
    npm run heads -- levit    (those whose names contain it)

Of each: find the head, replace it, one step of it, save, load, find it again with and without what the file says, replace it
again. Prints every network whose head is not found or another than timm's own, and the count.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "bench"))

from torchvision_ready import prepare_torchvision  # noqa: E402

# A small one of each family; those that cannot be scripted and saved are traced.
NETWORKS = """
    beit_base_patch16_224 botnet26t_256 caformer_s18 cait_xxs24_224 coat_tiny coatnet_pico_rw_224 convit_tiny convmixer_768_32
    convnext_atto convnextv2_atto crossvit_tiny_240 cs3darknet_s cspresnet50 darknet17 davit_tiny deit_tiny_distilled_patch16_224
    densenet121 dla46_c dm_nfnet_f0 dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_b0
    efficientnetv2_rw_t efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim eva02_tiny_patch14_224 fastvit_t8 fbnetc_100
    focalnet_tiny_srf gcvit_xxtiny ghostnet_050 gmlp_ti16_224 hardcorenas_a hgnetv2_b0 hiera_tiny_224 hrnet_w18_small
    inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnet_035 legacy_seresnet18 legacy_xception levit_128s
    levit_conv_128s mambaout_femto maxvit_pico_rw_256 mixer_s32_224 mnasnet_small mobilenetv2_050 mobilenetv3_small_050
    mobilenetv4_conv_small_035 mobileone_s0 mobilevit_xxs mobilevitv2_050 nest_tiny nf_resnet26 nfnet_l0 pit_ti_224
    pit_ti_distilled_224 poolformer_s12 pvt_v2_b0 regnetx_002 regnety_002 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_14w_8s
    resmlp_12_224 resnest14d resnet10t resnet50_clip resnetv2_50x1_bit rexnet_100 selecsls42 sequencer2d_s shvit_s1 skresnet18
    starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 tiny_vit_5m_224 tinynet_e tnt_s_patch16_224
    twins_svt_small vgg11 visformer_tiny vit_tiny_patch16_224 volo_d1_224 xception41 xcit_nano_12_p16_224
""".split()
# Where get_classifier() names less than what reset_classifier() makes anew, or a module around the layers.
TOGETHER = {
    "crossvit_tiny_240": ["head.0", "head.1"],
    "repvit_m0_9": ["head.head.l", "head.head_dist.l"],
    "volo_d1_224": ["aux_head", "head"],
}
SIZES = (64, 96, 128, 160, 192, 224, 240, 256)


def create(name: str):
    """The network and the smallest size of images that it takes."""
    import timm
    import torch

    why = None
    for size in SIZES:
        for options in ({"img_size": size}, {}):
            try:
                torch.manual_seed(0)
                network = timm.create_model(name, pretrained=False, num_classes=10, **options).eval()
                with torch.no_grad():
                    if network(torch.randn(2, 3, size, size)).shape == (2, 10):
                        return network, size
            except Exception as error:  # no option of its, or no size for it
                why = error
    raise RuntimeError(f"{name} takes no size of images: {why}")


def classifiers(name: str, network):
    """Paths of the last Linear or Conv2d of each classifier."""
    from torch import nn

    if name in TOGETHER:
        return TOGETHER[name]
    found = network.get_classifier()
    paths = []
    for classifier in found if isinstance(found, (tuple, list)) else (found,):
        own = set(classifier.modules())
        paths.append([path for path, module in network.named_modules() if module in own and isinstance(module, (nn.Linear, nn.Conv2d))][-1])
    return sorted(paths)


def export(name: str, file: Path):
    """Writes the network; gives what is to be found in it."""
    import torch

    network, size = create(name)
    try:  # what can be scripted cannot always be saved
        way = "scripted"
        torch.jit.script(network).save(str(file))
    except Exception:
        way = "traced"
        torch.jit.trace(network, torch.randn(2, 3, size, size), check_trace=False).save(str(file))
    return {"name": name, "way": way, "file": str(file), "size": size, "heads": classifiers(name, network)}


def main():
    try:
        import torch  # noqa: F401

        prepare_torchvision()
        import timm  # noqa: F401
    except ImportError as error:
        sys.exit(f"{error}. Run `pip install torch torchvision timm`, or set PYTHON to a Python that has them.")
    wanted = [name for name in NETWORKS if not sys.argv[1:] or any(part in name for part in sys.argv[1:])]
    check = subprocess.Popen(["node", "scripts/heads/check.js"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    counts = {"found": 0, "refused": 0, "wrong": 0}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.pt"
        for name in wanted:
            check.stdin.write(json.dumps(export(name, file)) + os.linesep)
            check.stdin.flush()
            result = json.loads(check.stdout.readline())
            counts[result["outcome"]] += 1
            print(f"{result['outcome']:8} {name:32} {result['text']}", flush=True)
    check.stdin.close()
    print(f"{counts['found']} of {len(wanted)} heads found, {counts['refused']} refused, {counts['wrong']} wrong")
    return 1 if counts["wrong"] > 0 else check.wait()


if __name__ == "__main__":
    sys.exit(main())
