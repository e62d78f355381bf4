// The RG-LRU and its gradient on a CPU: real, float32, without marks; see native_kernel.py.
//
// Arrays are (B, T, D), vectors of channels (D,), and states (B, D). A thread follows 64 channels of one row along time,
// with their states in registers, so every array is read or written once. `log_decay` is -c softplus(-Lambda).

#include <cmath>
#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))

constexpr int WIDTH = 64;

// Cephes: 2^n times a polynomial of the rest.
INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float n = rintf(x * 1.44269504f);
    float rest = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * rest + 1.3981999507e-3f;
    p = p * rest + 8.3334519073e-3f;
    p = p * rest + 4.1665795894e-2f;
    p = p * rest + 1.6666665459e-1f;
    p = p * rest + 5.0000001201e-1f;
    p = p * rest * rest + rest + 1.0f;
    int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return p * power;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// exp(x) - 1 for x <= 0: a polynomial near zero, where the difference would lose digits.
INLINE float minus_one(float x) {
    float p = 1 / 720.0f + x * (1 / 5040.0f);
    p = x * (1 + x * (1 / 2.0f + x * (1 / 6.0f + x * (1 / 24.0f + x * (1 / 120.0f + x * p)))));
    float difference = exponential(x) - 1.0f;
    return x > -0.35f ? p : difference;
}

extern "C" void forward(const float* x, const float* input_logits, const float* recurrence_logits,
                        const float* log_decay, const float* start, float* states,
                        int64_t rows, int64_t length, int64_t width, int64_t threads) {
    int64_t blocks = width / WIDTH;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < rows * blocks; ++k) {
        int64_t row = k / blocks, channel = k % blocks * WIDTH;
        float state[WIDTH], scale[WIDTH];
        std::memcpy(state, start + row * width + channel, sizeof state);
        std::memcpy(scale, log_decay + channel, sizeof scale);
        for (int64_t t = 0; t < length; ++t) {
            int64_t at = (row * length + t) * width + channel;
#pragma GCC ivdep
            for (int j = 0; j < WIDTH; ++j) {
                float e = minus_one(sigmoid(recurrence_logits[at + j]) * scale[j]);
                float root = sqrtf(-e * (2.0f + e));
                state[j] = (1.0f + e) * state[j] + root * sigmoid(input_logits[at + j]) * x[at + j];
                states[at + j] = state[j];
            }
        }
    }
}

extern "C" void backward(const float* x, const float* input_logits, const float* recurrence_logits,
                         const float* log_decay, const float* start, const float* states,
                         const float* into_states, const float* into_final,
                         float* into_x, float* into_input_logits, float* into_recurrence_logits,
                         float* into_log_decay, float* into_start,
                         int64_t rows, int64_t length, int64_t width, int64_t threads) {
    int64_t blocks = width / WIDTH;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < rows * blocks; ++k) {
        int64_t row = k / blocks, channel = k % blocks * WIDTH;
        float flow[WIDTH], scale[WIDTH], sum[WIDTH] = {};
        std::memcpy(flow, into_final + row * width + channel, sizeof flow);
        std::memcpy(scale, log_decay + channel, sizeof scale);
        for (int64_t t = length - 1; t >= 0; --t) {
            int64_t at = (row * length + t) * width + channel;
            const float* before = t ? states + at - width : start + row * width + channel;
#pragma GCC ivdep
            for (int j = 0; j < WIDTH; ++j) {
                float r = sigmoid(recurrence_logits[at + j]), i = sigmoid(input_logits[at + j]);
                float e = minus_one(r * scale[j]), decay = 1.0f + e;
                float root = sqrtf(-e * (2.0f + e));
                float given = into_states[at + j] + flow[j], product = given * x[at + j];
                float slope = decay / (root > 1e-3f ? root : 1e-3f);
                float into_log = decay * (given * before[j] - product * i * slope);
                flow[j] = decay * given;
                sum[j] += into_log * r;
                into_x[at + j] = given * root * i;
                into_input_logits[at + j] = product * root * i * (1.0f - i);
                into_recurrence_logits[at + j] = into_log * scale[j] * r * (1.0f - r);
            }
        }
        std::memcpy(into_log_decay + row * width + channel, sum, sizeof sum);
        std::memcpy(into_start + row * width + channel, flow, sizeof flow);
    }
}
