"""What leaves the lab: dense_crf.js refines predictions in the reader's own browser, as deeplab_lightning.crf does."""
