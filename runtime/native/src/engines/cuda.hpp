// The few calls of CUDA's runtime that an engine needs, each checked, and what they made given back.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace physedge {

// Throws Refusal PE-TRT-003 where a call failed.
void check_cuda(cudaError_t status, const char* call);

template <typename Handle, cudaError_t (*give_back)(Handle)>
struct Owned {
    Handle handle{};
    Owned() = default;
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() {
        if (handle != Handle{}) give_back(handle);
    }
};

// One tensor of the network: pinned memory here, and its twin on the GPU.
struct GpuTensor {
    std::size_t bytes = 0;
    Owned<void*, cudaFreeHost> host;
    Owned<void*, cudaFree> device;

    void make(std::size_t wanted_bytes);
};

// The GPU with the number 0, as far as an engine depends on it.
struct GpuDevice {
    std::string name;
    std::string architecture;  // as compilers write it, for example sm_87
    std::string driver;        // the highest CUDA version that it knows, for example 12.6
};

GpuDevice find_gpu();

}  // namespace physedge
