"""The peer's side of `npm run bench -- start`: one image, from nothing, with nothing imported that it does not need.

    python pytorch_start.py <model.pt> <image> <threads> <mean, a,b,c> <std, a,b,c>
"""

import json
import resource
import sys

import numpy
import torch
from PIL import Image

source, path, threads, mean, std = sys.argv[1:]
torch.set_num_threads(int(threads))
model = torch.jit.load(source).eval()
image = Image.open(path).convert("RGB")
# torchvision's Resize(256) and CenterCrop(224).
width, height = image.size
short = min(width, height)
image = image.resize((256 * width // short, 256 * height // short), Image.Resampling.BILINEAR)
left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
pixels = numpy.asarray(image.crop((left, top, left + 224, top + 224)), dtype=numpy.float32) / 255
mean, std = ([float(part) for part in text.split(",")] for text in (mean, std))
batch = torch.from_numpy((pixels - numpy.float32(mean)) / numpy.float32(std)).permute(2, 0, 1)[None].contiguous()
with torch.inference_mode():
    probabilities = model(batch).softmax(1)[0]
best = probabilities.argmax().item()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"index": best, "probability": probabilities[best].item(), "peakRssMb": peak, "version": torch.__version__}), flush=True)
