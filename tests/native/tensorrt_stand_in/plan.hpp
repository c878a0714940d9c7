// The stand-in's plan, as tests write it: a head, then its tensors. Little-endian, as everything here.
#pragma once

#include <cstdint>

struct PlanTensor {
    char name[32];
    std::int32_t is_input;
    std::int32_t type;   // nvinfer1::DataType
    std::int32_t rank;
    std::int32_t takes_no_address;
    std::int64_t sides[8];
    // Of an output: a value for each byte of the input's first channel; of voltages, scale * first voltage + offset.
    float table[256];
    float scale;
    float offset;

    std::int64_t values() const {
        std::int64_t count = 1;
        for (std::int32_t axis = 0; axis < rank; ++axis) count *= sides[axis];
        return count;
    }
};

struct PlanHead {
    char magic[8];         // "STAND-IN"
    std::int32_t version;  // of the library that "built" it: 10300
    std::int32_t tensors;  // that follow, at most 10
    std::int32_t carries_runtime;
};
