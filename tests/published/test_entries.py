"""The catalogue holds the facts of the sources: addresses, scores with their protocols, networks that can be built."""

import re
from pathlib import Path

import pytest
import torch

from deeplab_lightning.models.build import build_network
from deeplab_lightning.models.encoders import build_backbone
from deeplab_lightning.published.entries import Entry, PublishedScore, entries, entry, is_name
from deeplab_lightning.usage import UsageError

# Typed from model_zoo.md of the TensorFlow release: name, last part of the address, and mIoU, split, output stride and
# passes of each score; "ms" stands for scales 0.5 to 1.75 and mirrored images, "cs" for 0.75 to 1.25, "cs2" for 0.75 to
# 2.
TENSORFLOW = """
mobilenetv2_dm05_coco_voc_trainaug deeplabv3_mnv2_dm05_pascal_trainaug_2018_10_01 70.19 val 16 1
mobilenetv2_dm05_coco_voc_trainval deeplabv3_mnv2_dm05_pascal_trainval_2018_10_01 71.83 test 8 1
mobilenetv2_coco_voc_trainaug deeplabv3_mnv2_pascal_train_aug_2018_01_29 75.32 val 16 1 77.33 val 8 ms
mobilenetv2_coco_voc_trainval deeplabv3_mnv2_pascal_trainval_2018_01_29 80.25 test 8 ms
xception65_coco_voc_trainaug deeplabv3_pascal_train_aug_2018_01_04 \
82.20 val 16 1 83.34 val 16 ms 82.45 val 8 1 83.58 val 8 ms
xception65_coco_voc_trainval deeplabv3_pascal_trainval_2018_01_04 87.80 test 8 ms
mobilenetv2_coco_cityscapes_trainfine deeplabv3_mnv2_cityscapes_train_2018_02_05 70.71 val 16 1 73.57 val 8 cs
mobilenetv3_large_cityscapes_trainfine deeplab_mnv3_large_cityscapes_trainfine_2019_11_15 72.41 val 32 1
mobilenetv3_small_cityscapes_trainfine deeplab_mnv3_small_cityscapes_trainfine_2019_11_15 68.99 val 32 1
xception65_cityscapes_trainfine deeplabv3_cityscapes_train_2018_02_06 78.79 val 16 1 80.42 val 8 cs
xception71_dpc_cityscapes_trainfine deeplab_cityscapes_xception71_trainfine_2018_09_08 80.31 val 16 1
xception71_dpc_cityscapes_trainval deeplab_cityscapes_xception71_trainvalfine_2018_09_08 82.66 test 8 cs2
mobilenetv2_ade20k_train deeplabv3_mnv2_ade20k_train_2018_12_03 32.04 val 16 1
xception65_ade20k_train deeplabv3_xception_ade20k_train_2018_05_29 45.65 val 8 ms
xception41_imagenet xception_41_2018_05_09
xception65_imagenet deeplabv3_xception_2018_01_04
xception65_coco_imagenet xception_65_coco_pretrained_2018_10_02
xception71_imagenet xception_71_2018_05_09
resnet50_beta_imagenet resnet_v1_50_2018_05_04
resnet101_beta_imagenet resnet_v1_101_2018_05_04
mobilenetv2_coco_voc_trainaug_8bit deeplabv3_mnv2_pascal_train_aug_8bit_2019_04_26 74.26 val 16 1
mobilenetv2_dm05_coco_voc_trainaug_8bit deeplabv3_mnv2_dm05_pascal_trainaug_8bit_2019_04_26 69.65 val 16 1
edgetpu_deeplab_cityscapes edgetpu-deeplab_2020_03_09 74.1 val 16 1
edgetpu_deeplab_slim_cityscapes edgetpu-deeplab-slim_2020_03_09 73.2 val 16 1
"""
PASSES = {
    "1": ((1.0,), False),
    "ms": ((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), True),
    "cs": ((0.75, 1.0, 1.25), True),
    "cs2": ((0.75, 1.0, 1.25, 1.5, 1.75, 2.0), True),
}
# Typed from mmsegmentation's metafiles: the best of each data set, at one scale, and at several with mirrored images.
MMSEGMENTATION = {
    "deeplabv3_r101-d8_512x512_20k_voc12aug": (78.70, 79.95, "8d13832f"),
    "deeplabv3plus_r101-d8_512x512_40k_voc12aug": (78.62, 79.53, "faf03387"),
    "deeplabv3_r50-d8_512x512_40k_voc12aug": (77.68, 78.78, "2ae96e7e"),
    "deeplabv3plus_r50-d8_512x512_40k_voc12aug": (76.81, 77.57, "e1b43aa9"),
    "deeplabv3plus_r101-d8_512x1024_80k_cityscapes": (80.97, 82.03, "068fcfe9"),
    "deeplabv3plus_r50b-d8_512x1024_80k_cityscapes": (80.28, 81.44, "a97e4e43"),
    "deeplabv3_r101-d8_512x1024_80k_cityscapes": (80.20, 81.21, "9e428899"),
    "deeplabv3plus_r101-d8_512x512_160k_ade20k": (45.47, 46.35, "38ed86bb"),
    "deeplabv3_r101-d8_512x512_160k_ade20k": (45.00, 46.66, "b1f72b3b"),
    "deeplabv3plus_r101-d8_480x480_80k_pascal_context_59": (53.20, 54.67, "7ca0331d"),
    "deeplabv3plus_r101-d8_480x480_40k_pascal_context": (47.30, 48.47, "d3c8a29e"),
    "deeplabv3_r101-d8_512x512_4x4_40k_coco-stuff10k": (37.81, 38.80, None),
    "deeplabv3_r101-d8_512x512_4x4_320k_coco-stuff164k": (42.61, 43.42, None),
}
# Typed from the pages of the other sources: the scores of each checkpoint.
OTHERS = {
    "caffe/v2_vgg16_voc_trainaug": (68.96, 71.57),
    "caffe/v2_vgg16_voc_trainval": (72.6,),
    "caffe/v2_resnet101_voc_trainaug": (76.35, 77.69),
    "caffe/v2_resnet101_voc_trainval": (79.7,),
    "caffe/v1_largefov_voc_trainval": (70.3,),
    "caffe/v1_msc_largefov_voc_trainval": (71.6,),
    "caffe/v1_msc_coco_largefov_voc_trainval": (73.6,),
    "torchvision/deeplabv3_resnet50": (66.4,),
    "torchvision/deeplabv3_resnet101": (67.4,),
    "torchvision/deeplabv3_mobilenet_v3_large": (60.3,),
    "vainf/deeplabv3_mobilenet_voc": (70.1,),
    "vainf/deeplabv3_resnet50_voc": (76.9,),
    "vainf/deeplabv3_resnet101_voc": (77.3,),
    "vainf/deeplabv3plus_mobilenet_voc": (71.1,),
    "vainf/deeplabv3plus_resnet50_voc": (77.2,),
    "vainf/deeplabv3plus_resnet101_voc": (78.3,),
    "vainf/deeplabv3plus_mobilenet_cityscapes": (72.1,),
    "vainf/deeplabv3plus_resnet101_cityscapes": (76.2,),
    "jfzhang95/deeplabv3plus_resnet101_voc": (78.43,),
    "jfzhang95/deeplabv3plus_mobilenet_voc": (70.81,),
    "jfzhang95/deeplabv3plus_drn_voc": (78.87,),
    "kazuto1011/deeplabv2_resnet101_msc_voc": (76.65, 77.93),
    "kazuto1011/deeplabv2_resnet101_msc_cocostuff164k": (39.1,),
    "transformers/deeplabv3-mobilevit-xx-small": (73.6,),
    "transformers/deeplabv3-mobilevit-x-small": (77.1,),
    "transformers/deeplabv3-mobilevit-small": (79.1,),
}
ADDRESSES = {
    "caffe/v2_resnet101_voc_trainaug": "http://liangchiehchen.com/projects/released/deeplab_aspp_resnet101/prototxt_and_model.zip",
    "caffe/v2_vgg16_init": "http://liangchiehchen.com/projects/released/deeplab_aspp_vgg16/prototxt_and_model.zip",
    "caffe/v1_largefov_voc_trainval": "http://www.cs.jhu.edu/~alanlab/ccvl/DeepLab-LargeFOV/train2_iter_8000.caffemodel",
    "caffe/vgg16_20M": "http://www.cs.jhu.edu/~alanlab/ccvl/init_models/vgg16_20M.caffemodel",
    "torchvision/deeplabv3_resnet50": "https://download.pytorch.org/models/deeplabv3_resnet50_coco-cd0a2569.pth",
    "torchvision/deeplabv3_resnet101": "https://download.pytorch.org/models/deeplabv3_resnet101_coco-586e9e4e.pth",
    "torchvision/deeplabv3_mobilenet_v3_large": "https://download.pytorch.org/models/deeplabv3_mobilenet_v3_large-fc3c493d.pth",
}
# Counted by others: v1's and MobileNetV2's papers, and torchvision's own list less its auxiliary classifiers.
PARAMETERS = {
    "caffe/v1_largefov_voc_trainval": 20_505_429,
    "tensorflow/mobilenetv2_coco_voc_trainaug": 2_113_557,
    "torchvision/deeplabv3_resnet50": 42_004_074 - 2_365_205,
    "torchvision/deeplabv3_resnet101": 60_996_202 - 2_365_205,
    "torchvision/deeplabv3_mobilenet_v3_large": 11_029_328 - 3_851,
}


def summary(score: PublishedScore) -> tuple[float, str, int, tuple[tuple[float, ...], bool]]:
    return score.miou, score.split, score.output_stride, (score.scales, score.flip)


def of_source(source: str) -> dict[str, Entry]:
    return {name.partition("/")[2]: each for name, each in entries().items() if each.source == source}


def test_the_tensorflow_zoo() -> None:
    typed = [line.split() for line in TENSORFLOW.strip().splitlines()]
    own = of_source("tensorflow")
    assert own.keys() == {name for name, *_ in typed}
    for name, file, *scores in typed:
        assert own[name].url == f"http://download.tensorflow.org/models/{file}.tar.gz"
        found = [scores[start : start + 4] for start in range(0, len(scores), 4)]
        expected = [(float(miou), split, int(stride), PASSES[passes]) for miou, split, stride, passes in found]
        assert [summary(score) for score in own[name].scores] == expected, name
        sizes = {score.size for score in own[name].scores}
        assert sizes <= {"pad_to_513"} if "voc" in name else "pad_to_513" not in sizes, name


def test_mmsegmentation() -> None:
    own = of_source("mmsegmentation")
    assert len(own) == 72
    for name, (single, several, digits) in MMSEGMENTATION.items():
        first, second = own[name].scores
        assert summary(first)[::3] == (single, PASSES["1"])
        assert summary(second)[::3] == (several, PASSES["ms"])
        assert digits in (own[name].sha256, None)
    for name, each in own.items():
        depth = re.search(r"_r(50|101)b?-", name)
        assert depth is not None
        assert each.arguments["backbone"] == f"resnet{depth[1]}"
        assert each.arguments["align_corners"] == ("769x769" in name)
        assert each.url is not None
        assert each.url.endswith(f"-{each.sha256}.pth")


def test_mmsegmentation_agrees_with_its_list(real_data: Path) -> None:
    lines = (real_data / "checkpoints" / "mmseg_models.tsv").read_text().splitlines()[1:]
    typed = {line.split("\t")[1]: line.split("\t") for line in lines}
    for name, each in of_source("mmsegmentation").items():
        *_, single, several, url = typed[name]
        numbers = [float(number) for number in (single, several) if number != "None"]
        assert [score.miou for score in each.scores] == numbers
        assert each.url == url
    left = set(typed) - set(of_source("mmsegmentation"))
    assert all("_r18" in name or "_m-v2" in name for name in left), "no network here has these backbones"


def test_the_other_sources() -> None:
    found = {name: each for name, each in entries().items() if each.source not in ("tensorflow", "mmsegmentation")}
    assert {name: tuple(score.miou for score in each.scores) for name, each in found.items() if each.scores} == OTHERS
    for name, url in ADDRESSES.items():
        assert found[name].url == url
    with_crf = [score for each in found.values() for score in each.scores if score.crf]
    assert len(with_crf) == 8


def test_every_checkpoint_can_be_had_and_has_its_own_place() -> None:
    for each in entries().values():
        assert (each.url is None) == bool(each.where), each.name
        assert each.file, each.name
        assert each.licence, each.name
        assert (each.network is None) == bool(each.trunk or each.unsupported), each.name
    places = {(each.source, each.file, each.member): each for each in entries().values()}
    assert len(places) == len(entries())


def test_every_network_can_be_built() -> None:
    counts: dict[str, int] = {}
    with torch.device("meta"):
        for each in entries().values():
            form = str([each.kind, {**each.arguments, "num_classes": 0, "align_corners": False}])
            if each.network is not None and (form not in counts or each.name in PARAMETERS):
                counts[form] = sum(weight.numel() for weight in build_network(each.kind, each.arguments).parameters())
                assert PARAMETERS.get(each.name, counts[form]) == counts[form], each.name
            elif each.trunk is not None and each.arguments["backbone"] != "vgg16":
                settings = {name: value for name, value in each.arguments.items() if name != "backbone"}
                build_backbone(each.arguments["backbone"], 8, **settings)
    assert len(counts) > 25


def test_names() -> None:
    with pytest.raises(UsageError, match="xception65_coco_voc_trainaug"):
        entry("tensorflow/xception65_coco_voc_trainagu")
    with pytest.raises(UsageError, match="weights list"):
        entry("nothing/of/the/kind")
    assert is_name("tensorflow/anything")
    assert not is_name("runs/last.ckpt")
    assert not is_name("caffe/last.ckpt")
    assert not is_name("caffe")
