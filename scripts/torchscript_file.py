"""TorchScript files that do not name the machine they were made on."""

import torch


def save_without_paths(module, path):
    """Saves without debug records: they hold source paths, and are most of a small file."""
    module.save(str(path))
    strip_paths(str(path))


def strip_paths(path):
    reader = torch._C.PyTorchFileReader(path)
    records = {name: reader.get_record(name) for name in reader.get_all_records()}
    writer = torch._C.PyTorchFileWriter(path)
    for name, data in records.items():
        if not name.endswith(".debug_pkl") and name not in ("version", "byteorder", ".data/serialization_id"):
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
