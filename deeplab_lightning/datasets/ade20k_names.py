"""ADE20K SceneParsing's 150 classes and their official colours."""

from deeplab_lightning.palette import Color

CLASS_NAMES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
    "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
    "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
    "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
    "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path",
    "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase",
    "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm",
    "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light",
    "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television", "airplane", "dirt track",
    "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van",
    "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel",
    "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank",
    "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture",
    "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor",
    "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip
"""First names of the classes in objectInfo150.txt; class k has label k + 1."""

_COLORS = (
    "787878B4787806E6E650323204C8037878508C8C8CCC05FFE6E6E604FA07E005FFEBFF0796053D78784608FF33FF06528FFF8CCCFF04"
    "FF3307CC46030066C83DE6FAFF06330B66FFFF0747FF09E00907E6DCDCDCFF095C7009FF08FFD607FFE0FFB8060AFF47FF290A07FFFF"
    "E0FF086608FFFF3D06FFC207FF7A0800FF14FF0829FF05990633FFEB0CFFA0961400A3FF8C8C8CFA0A0F14FF001FFF00FF1F00FFE000"
    "99FF000000FFFF470000EBFF00ADFF1F00FF0BC8C8FF520000FFF5003DFF00FF7000FF85FF0000FFA300FF6600C2FF00008FFF33FF00"
    "0052FF00FF2900FFAD0A00FFADFF0000FF99FF5C00FF00FFFF00F5FF0066FFAD00FF0014FFB8B8001FFF00FF3D0047FFFF00CC00FFC2"
    "00FF52000AFF0070FF3300FF00C2FF007AFF00FFA3FF990000FF0AFF70008FFF005200FFA3FF00FFEB0008B8AA8500FF00FF5CB800FF"
    "FF001F00B8FF00D6FFFF00705CFF0000E0FF70E0FF46B8A0A300FF9900FF47FF00FF00A3FFCC00FF008F00FFEB85FF00FF00EBF500FF"
    "FF007AFFF5000ABED4D6FF0000CCFF1400FFFFFF000099FF0029FF00FFCC2900FF29FF00AD00FF00F5FF4700FF7A00FF00FFB8005CFF"
    "B8FF000085FFFFD60019C2C266FF005C00FF"
)

COLORS: tuple[Color, ...] = tuple(
    (red, green, blue) for red, green, blue in zip(*[iter(bytes.fromhex(_COLORS))] * 3, strict=True)
)
"""Colours of the classes, red, green and blue (CSAILVision/sceneparsing, visualizationCode/color150.mat)."""
