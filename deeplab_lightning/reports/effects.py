"""How much a setting can matter, by the papers' own tables: the difference between two rows that differ in it."""

from dataclasses import dataclass
from functools import cache

from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.packaged import EXPERIMENTS


@dataclass(frozen=True)
class Effect:
    """Two rows of a paper's table that differ in one thing.

    Args:
        names: Beginnings of the names that it concerns: of settings, or of properties of an evaluation identity.
        table: Name of the table's file in experiments/ablations.
        rows: Names of the two rows.
        words: Name of the source and of the difference.
    """

    names: tuple[str, ...]
    table: str
    rows: tuple[str, str]
    words: str

    @property
    def points(self) -> float:
        """The absolute difference between the papers' numbers, in points of mIoU."""
        first, second = (_paper(self.table, row) for row in self.rows)
        return abs(first - second)

    def __str__(self) -> str:
        return f"{self.points:.2f} ({self.words})"


MODEL, DATA = "model.init_args.", "data.init_args."
V3_6, V3_8, V3_5 = "deeplab_v3_table6", "deeplab_v3_table8", "deeplab_v3_table5"
EFFECTS = (
    Effect(("model.class_path",), "deeplab_v3plus_table3", ("train16_evaluate16", "train16_evaluate16_d"),
           "v3+, Table 3: v3 and v3+"),
    Effect((f"{DATA}batch_size", "trainer.accumulate_grad_batches"), "deeplab_v3_table9",
           ("batch4", "batch16"), "v3, Table 9: batches of 4 and 16"),
    Effect((f"{DATA}crop_size",), V3_8, ("crop321", "crop513_ul_bn"), "v3, Table 8: crops of 321 and 513"),
    Effect((f"{MODEL}backbone",), "deeplab_v3_table2", ("resnet50_block4", "resnet101_block4"),
           "v3, Table 2: ResNet-50 and ResNet-101"),
    Effect((f"{MODEL}output_stride",), V3_6, ("stride16", "stride8"),
           "v3, Table 6: evaluation at 16 and 8"),
    Effect((f"{MODEL}poly_power", f"{MODEL}step_size"), "deeplab_v2_table2", ("step_30_6k", "poly_30_6k"),
           "v2, Table 2: step and poly"),
    Effect(("trainer.max_steps",), "deeplab_v2_table2", ("poly_10_10k", "poly_10_20k"),
           "v2, Table 2: 10,000 and 20,000 steps"),
    Effect(("starts from",), V3_6, ("stride8_ms_flip", "coco_stride8_ms_flip"),
           "v3, Table 6: without and with COCO"),
    Effect((f"{MODEL}freeze_batch_norm", f"{MODEL}batch_norm_momentum"), V3_8,
           ("crop513_ul", "crop513_ul_bn"), "v3, Table 8: batch norm frozen and trained"),
    Effect((f"{MODEL}upsample_logits",), V3_8, ("crop513_bn", "crop513_ul_bn"),
           "v3, Table 8: labels decimated and logits upsampled"),
    Effect((f"{MODEL}scales",), V3_6, ("stride8", "stride8_ms"), "v3, Table 6: one scale and six"),
    Effect((f"{MODEL}flip",), V3_6, ("stride8_ms", "stride8_ms_flip"), "v3, Table 6: without and with flip"),
    Effect(("crf",), "deeplab_v2_table4", ("msc_coco_aug_aspp", "msc_coco_aug_aspp_crf"),
           "v2, Table 4: without and with CRF"),
    Effect((f"{MODEL}multi_grid",), V3_5, ("mg111", "mg124"), "v3, Table 5: (1, 1, 1) and (1, 2, 4)"),
    Effect((f"{MODEL}image_pooling",), V3_5, ("mg124", "mg124_image_pooling"),
           "v3, Table 5: without and with"),
    Effect((f"{MODEL}atrous_rates",), V3_5, ("mg124", "mg124_rate24"),
           "v3, Table 5: without and with rate 24"),
)  # fmt: skip
"""What the papers measured; it need not be so with other networks and data."""


def effect_of(name: str) -> Effect | None:
    """Return what the papers measured of a setting or a property; None if they measured nothing."""
    return next((effect for effect in EFFECTS if name.startswith(effect.names)), None)


@cache
def _paper(table: str, row: str) -> float:
    number = read_table(EXPERIMENTS / "ablations" / f"{table}.yaml").row(row).paper
    if number is None:
        raise ValueError(f"{table}: row {row} has no number")
    return number
