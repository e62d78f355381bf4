"""What the process of an export does."""

import keras

from keras_griffin.export import __main__ as process
from keras_griffin.layers import RGLRU


def test_it_loads_the_model_and_exports_it(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(process, "export", lambda *arguments, **options: calls.append((arguments, options)))
    model = keras.Sequential([keras.Input((None, 4), name="samples"), RGLRU(return_sequences=True)])
    model.save(tmp_path / "m.keras")
    process.main([str(tmp_path / "m.keras"), "m.onnx", '{"what": "step"}'])
    (((loaded, path), options),) = calls
    assert (path, options) == ("m.onnx", {"what": "step"}) and isinstance(loaded, keras.Sequential)
