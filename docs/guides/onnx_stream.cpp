// An exported step on onnxruntime, for a model of one input of numbers.
//
//     c++ -std=c++17 -O2 -I/usr/include/onnxruntime onnx_stream.cpp -lonnxruntime -o onnx_stream
//     ./onnx_stream model.onnx < inputs.txt > outputs.txt
//
// A line is a step of the row: the numbers of the input, and of the first output.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

int main(int, char** arguments) {
  Ort::Env environment;
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);  // a step is too short for several
  Ort::Session session(environment, arguments[1], options);
  Ort::AllocatorWithDefaultOptions allocator;
  std::vector<Ort::AllocatedStringPtr> names;
  std::vector<const char*> taken, returned;
  std::vector<Ort::Value> inputs;  // the input, reset, and the state
  for (size_t i = 0; i < session.GetInputCount(); ++i) {
    names.push_back(session.GetInputNameAllocated(i, allocator));
    taken.push_back(names.back().get());
    auto info = session.GetInputTypeInfo(i);
    auto tensor = info.GetTensorTypeAndShapeInfo();
    auto shape = tensor.GetShape();
    for (size_t axis = 0; axis < shape.size(); ++axis)
      if (shape[axis] < 0) shape[axis] = axis == 0;  // one row, and no steps yet
    auto type = tensor.GetElementType();
    auto zeros = Ort::Value::CreateTensor(allocator, shape.data(), shape.size(), type);
    auto size = zeros.GetTensorTypeAndShapeInfo().GetElementCount();
    size *= type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL ? 1 : 4;
    std::fill_n(static_cast<char*>(zeros.GetTensorMutableRawData()), size, 0);
    inputs.push_back(std::move(zeros));
  }
  for (size_t i = 0; i < session.GetOutputCount(); ++i) {
    names.push_back(session.GetOutputNameAllocated(i, allocator));
    returned.push_back(names.back().get());
  }
  bool& reset = *inputs[1].GetTensorMutableData<bool>();
  reset = true;  // so the state may be zeros at first
  for (std::string line; std::getline(std::cin, line); reset = false) {
    std::istringstream numbers(line);
    for (float* x = inputs[0].GetTensorMutableData<float>(); numbers >> *x; ++x) {}
    auto results = session.Run({}, taken.data(), inputs.data(), taken.size(),
                               returned.data(), returned.size());
    const float* y = results[0].GetTensorData<float>();
    for (size_t i = results[0].GetTensorTypeAndShapeInfo().GetElementCount(); i > 0; --i)
      std::cout << *y++ << (i > 1 ? ' ' : '\n');
    std::move(results.end() - (inputs.size() - 2), results.end(), inputs.begin() + 2);
  }
}
