"""The paper's three families, which differ only in their mixers."""

import keras

from keras_griffin.models.language_model import LanguageModel


@keras.saving.register_keras_serializable("keras_griffin")
class Griffin(LanguageModel):
    """Recurrent blocks and local attention, in the config's pattern.

    Arguments: as for `LanguageModel`.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.
    """


@keras.saving.register_keras_serializable("keras_griffin")
class Hawk(Griffin):
    """Recurrent blocks only; the config's pattern is replaced.

    Arguments: as for `LanguageModel`.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.
    """

    family_pattern = ("recurrent",)


@keras.saving.register_keras_serializable("keras_griffin")
class MQATransformer(Griffin):
    """Global multi-query attention only, the paper's baseline; the config's pattern is replaced.

    Arguments: as for `LanguageModel`.

    Reference: De et al. 2024 (arXiv 2402.19427), section 3.1.
    """

    family_pattern = ("global_mqa",)
