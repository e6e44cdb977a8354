"""The numbers that the papers print in the tables of experiments/ablations/, and the uncertain rows."""

# All numbers of a table in the order of its rows, as printed in the paper. Figures have none.
NUMBERS = {
    **dict.fromkeys(
        ("deeplab_v2_figure10", "deeplab_v3_figure7", "deeplab_v3plus_figure5", "family_against_others"), ""
    ),
    "deeplab_v1_table1a": "59.80 63.74 61.30 65.21 64.38 67.64 62.25 67.64 64.21 68.70",
    "deeplab_v1_table1b": "61.8 62.2 64.4 66.4 67.1 70.3 70.3 71.6",
    "deeplab_v1_table2": "64.38 67.64 59.80 63.74 63.41 67.14 62.25 67.64",
    "deeplab_v2_table2": "62.25 63.42 64.90 64.71 65.88",
    "deeplab_v2_table3": "65.76 69.84 66.98 69.73 68.96 71.57",
    "deeplab_v2_table4": "68.72 71.27 73.28 74.87 75.54 76.35 77.69",
    "deeplab_v2_table5": "72.7 73.2 74.7 74.8 75.2 75.3 75.5 75.7 76.0 76.3 76.8 76.8 77.5 77.8 77.9 78.1 79.1 79.7",
    "deeplab_v2_test": "65.1 67.7 70.3 72.6",
    "deeplab_v2_table6": "37.6 39.6 39.6 41.4 42.9 43.5 44.7 45.7 18.1 34.4 37.8 39.3 40.4 40.5 41.3 43.3 44.5",
    "deeplab_v2_table7": "58.90 63.10 64.40 64.94 62.18 62.76 56.39 57.54 57.97 60.16",
    "deeplab_v2_table8": "66.4 65.3 64.8 63.1 62.5 59.1 57.0 56.1 71.6 67.1 66.8 64.3 70.4",
    "deeplab_v2_table9": "62.97 64.18 64.89 65.94 66.6 69.2 70.4 71.0 71.4",
    "deeplab_v3_table1": "75.18 73.88 70.06 59.99 42.34 20.29",
    "deeplab_v3_table2": "64.81 72.14 74.29 73.88 68.39 73.21 75.34 75.76",
    "deeplab_v3_table3": "68.39 73.21 75.34 75.76 70.23 75.67 76.09 76.66 73.14 75.78 75.96 76.11 "
    "73.45 75.74 75.85 76.02 71.45 74.30 74.70 74.62",
    "deeplab_v3_table4": "76.66 78.05 78.93 79.35",
    "deeplab_v3_table5": "75.36 75.93 76.58 76.46 77.21",
    "deeplab_v3_table6": "77.21 78.51 79.45 79.77 82.70",
    "deeplab_v3_table7": "79.1 79.3 79.7 80.2 81.4 81.8 82.7 83.1 83.6 84.2 84.9 85.4 86.3 86.6 86.8 85.7 86.9",
    "deeplab_v3_table8": "77.21 75.95 76.01 67.22",
    "deeplab_v3_table9": "64.43 75.76 76.49 77.21",
    "deeplab_v3_table10": "74.45 77.21 75.90 75.62 78.51 75.75",
    "deeplab_v3_table11": "77.21 77.15 76.79 77.02 77.18 76.69",
    "deeplab_v3_table12": "77.23 77.82 79.06 79.30",
    "deeplab_v3_table13": "70.4 71.1 71.2 71.6 71.8 71.8 73.6 74.1 74.3 75.4 77.3 78.1 79.2 80.1 80.5 80.6 81.2 81.3",
    "deeplab_v3plus_table1": "77.61 77.92 78.16 78.21 77.94",
    "deeplab_v3plus_table2": "78.21 78.85 78.02 77.25 78.07 78.61",
    "deeplab_v3plus_table3": "77.21 78.51 79.45 79.77 78.85 80.09 80.22 79.35 80.43 80.57 75.43 77.37 77.80 77.92",
    "deeplab_v3plus_table5": "79.17 80.57 80.79 79.64 81.15 81.34 79.93 81.38 81.44 80.22 81.60 81.63 "
    "79.79 81.21 80.02 81.39 82.20 83.34 82.45 83.58 83.03 84.22 83.39 84.56",
    "deeplab_v3plus_table6": "82.7 83.1 83.6 84.2 84.9 85.4 86.3 86.6 86.8 85.7 86.9 87.8 89.0",
    "deeplab_v3plus_table7a": "77.33 78.79 79.14 79.55",
    "deeplab_v3plus_table7b": "80.6 81.2 82.0 81.3 82.1",
    "mobilenets_cityscapes": "70.71 73.57 72.41 68.99",
    "mobilenet_v2_table7": "75.29 78.56 75.70 78.42 75.32 77.33 80.49 82.70 80.25 70.19 71.83",
}
# The further columns of a table, row by row, with a dash where a row has none.
COLUMNS = {
    "deeplab_v1_table2": "7x7 4 224 134.3M 1.44 " * 2
    + "4x4 4 128 65.1M 2.9 " * 2
    + "4x4 8 224 65.1M 2.9 " * 2
    + "3x3 12 224 20.5M 4.84 " * 2,
    "deeplab_v3_table11": "1 1.0 2 0.5 4 0.25 8 0.13 16 0.06 32 0.03",
    "deeplab_v3_table13": "- - - - - coarse - - - - - - coarse coarse coarse coarse coarse coarse",
    "mobilenets_cityscapes": "21.27B 433.24B 15.95B 4.63B",
    "deeplab_v3plus_table3": "81.02B 276.18B 2435.37B 4870.59B 101.28B 898.69B 1797.23B 297.92B 2623.61B 5247.07B "
    "52.43B 74.20B 101.28B 297.92B",
    "deeplab_v3plus_figure5": "- 4.8 - 5.4",
    "deeplab_v3plus_table5": "68.00B 601.74B 1203.34B 240.85B 2149.91B 4299.68B 89.76B 790.12B 1580.10B 262.59B "
    "2338.15B 4676.16B 54.17B 928.81B 177.10B 3055.35B 54.17B 928.81B 177.10B 3055.35B - - - -",
    "mobilenet_v2_table7": "11.15M 14.25B 11.15M 941.9B 4.52M 5.8B 4.52M 387B 2.11M 2.75B 2.11M 152.6B "
    "58.16M 81.0B 58.16M 4870.6B - 0.88B -",
}
# the rows of which something is uncertain
UNCERTAIN = {
    "deeplab_v1_table1a": {"deeplab_7x7", "deeplab_crf_7x7"},
    "deeplab_v1_table1b": {
        "DeepLab-CRF",
        "DeepLab-MSc-CRF",
        "DeepLab-CRF-7x7",
        "DeepLab-CRF-LargeFOV",
        "DeepLab-MSc-CRF-LargeFOV",
    },
    "deeplab_v1_table2": {"7x7_rate4", "7x7_rate4_crf", "4x4_rate8", "4x4_rate8_crf"},
    "deeplab_v2_figure10": {"vgg16_crf"},
    "deeplab_v2_table2": {"step_30_6k"},
    "deeplab_v2_table3": {"largefov_crf", "aspp_s_crf", "aspp_l_crf"},
    "deeplab_v2_table6": {
        "vgg16_largefov",
        "vgg16_largefov_crf",
        "resnet101",
        "msc",
        "msc_coco",
        "msc_coco_aug_largefov",
        "msc_coco_aug_aspp",
        "msc_coco_aug_aspp_crf",
    },
    "deeplab_v2_table7": {
        "resnet101",
        "msc",
        "msc_coco",
        "msc_coco_crf",
        "msc_coco_aug_largefov",
        "msc_coco_aug_aspp",
    },
    "deeplab_v2_table8": {"DeepLab-CRF (ResNet-101)"},
    "deeplab_v2_table9": {
        "vgg16_half",
        "vgg16_half_crf",
        "vgg16",
        "vgg16_crf",
        "resnet101",
        "resnet101_largefov",
        "resnet101_aspp",
        "resnet101_aspp_aug",
        "resnet101_aspp_aug_crf",
    },
    "deeplab_v2_test": {"largefov_step", "largefov_poly", "largefov_crf", "aspp_l_crf"},
    "deeplab_v3_figure7": {"bootstrapping"},
    "deeplab_v3_table5": {"mg124_rate24", "mg124_image_pooling"},
    "deeplab_v3_table6": {"coco_stride8_ms_flip"},
    "deeplab_v3_table7": {"DeepLabv3"},
    "deeplab_v3_table8": {"crop321"},
    "deeplab_v3_table11": {f"replicas{count}" for count in (1, 2, 4, 8, 16, 32)},
    "deeplab_v3_table13": {"DeepLabv3"},
    "deeplab_v3plus_table7a": {"xception65"},
    "deeplab_v3plus_table7b": {"DeepLabv3+"},
    "mobilenets_cityscapes": {
        "mobilenet_v2_stride16",
        "mobilenet_v2_stride8_ms_flip",
        "mobilenet_v3_large",
        "mobilenet_v3_small",
    },
    "deeplab_v3plus_figure5": {"resnet101", "resnet101_d", "xception65", "xception65_d"},
    "deeplab_v3plus_table3": {"train16_evaluate16_d", "train32_evaluate16_d"},
    "deeplab_v3plus_table5": {
        "stride16_d_sc_coco",
        "stride16_d_sc_ms_flip_coco",
        "stride8_d_sc_coco",
        "stride8_d_sc_ms_flip_coco",
    },
    "deeplab_v3plus_table6": {"DeepLabv3+ (Xception)"},
    "mobilenet_v2_table7": {
        "v1_aspp_stride16",
        "v1_aspp_stride8_ms_flip",
        "aspp_stride16",
        "aspp_stride8_ms_flip",
        "stride16",
        "stride8_ms_flip",
        "resnet101_stride16",
        "resnet101_stride8_ms_flip",
    },
}
# the rows that do not start from the authors' weights: no fc6 of 7x7, ResNet-101 without COCO or ResNet-34 is published
OTHER_STARTS = {
    "family_against_others": {"unet", "fpn", "pspnet", "deeplab_v3_cascade", "deeplab_v3", "deeplab_v3plus"},
    "deeplab_v1_table1a": {"deeplab_7x7", "deeplab_crf_7x7"},
    "deeplab_v1_table1b": {"DeepLab-CRF-7x7"},
    "deeplab_v1_table2": {"7x7_rate4", "7x7_rate4_crf"},
    "deeplab_v2_table4": {"resnet101", "msc"},
    "deeplab_v2_table6": {"resnet101", "msc"},
    "deeplab_v2_table7": {"resnet101", "msc"},
    "deeplab_v2_table8": {"DeepLab-CRF (ResNet-101)"},
    "deeplab_v2_table9": {
        "resnet101",
        "resnet101_largefov",
        "resnet101_aspp",
        "resnet101_aspp_aug",
        "resnet101_aspp_aug_crf",
    },
}
