"""The scales at which the tables of the papers can be run."""

from deeplab_lightning.ablation.table import Table, TableError

PAPER_SCALE = "paper"
SCALES = {
    PAPER_SCALE: (),
    "camvid": ("data/camvid.yaml", "scale/tables_camvid.yaml"),
    "smoke": ("data/shapes.yaml", "scale/tables_smoke.yaml"),
}
"""The files with the data and the settings that replace those of the paper, by scale."""


def check_scale(table: Table, scale: str) -> None:
    """Check that the files of a scale exist in the experiments folder of a table.

    Raises:
        TableError: A file is missing.
    """
    for file in SCALES[scale]:
        if not (table.root / file).is_file():
            raise TableError(f"{table.path}: scale {scale} needs {table.root / file}")
