"""The scales at which the tables of papers are run."""

from deeplab_lightning.ablation.table import Table, TableError

PAPER_SCALE = "paper"
SCALES = {
    PAPER_SCALE: (),
    "camvid": ("data/camvid.yaml", "scale/tables_camvid.yaml"),
    "smoke": ("data/shapes.yaml", "scale/tables_smoke.yaml"),
}
"""The data and the settings that take the place of the paper's."""


def check_scale(table: Table, scale: str) -> None:
    """Refuse a scale whose files are not beside the table's.

    Raises:
        TableError: A file is missing.
    """
    for file in SCALES[scale]:
        if not (table.root / file).is_file():
            raise TableError(f"{table.path}: scale {scale} needs {table.root / file}")
