"""The CRF settings of the released models, for VOC-sized images and for messages normalised after filtering.

DeepLab, -MSc and -COCO are in DeepLab-Context's SetupEnv.m; the others are third parties' quotations (?).
"""

from deeplab_lightning.crf.dense_crf import DenseCRF

DEEPLAB = DenseCRF(5, 50, 10, 3, 3)
DEEPLAB_MSC = DenseCRF(3, 95, 3, 3, 3)
DEEPLAB_COCO = DenseCRF(5, 67, 3, 3, 3)
DEEPLAB_LARGEFOV = DenseCRF(4, 121, 5, 3, 3)
DEEPLAB_MSC_LARGEFOV = DenseCRF(4, 83, 5, 3, 3)
DEEPLAB_COCO_LARGEFOV = DenseCRF(5, 69, 5, 3, 3)
DEEPLAB_MSC_COCO_LARGEFOV = DenseCRF(4, 59, 5, 3, 3)
DEEPLAB_V2_VGG16 = DenseCRF(4, 65, 3, 2, 2)
DEEPLAB_V2_RESNET101 = DenseCRF(4, 67, 3, 3, 1)
