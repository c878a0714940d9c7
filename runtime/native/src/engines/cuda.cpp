#include "engines/cuda.hpp"

#include "refusal.hpp"

namespace physedge {

void check_cuda(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-003", std::string("CUDA answered ") + call + " with " + cudaGetErrorName(status),
           "a GPU with a driver that fits the installed CUDA libraries", "look at nvidia-smi (tegrastats on a Jetson), or use another engine");
}

void GpuTensor::make(std::size_t wanted_bytes) {
    bytes = wanted_bytes;
    check_cuda(cudaMallocHost(&host.handle, bytes), "cudaMallocHost");
    check_cuda(cudaMalloc(&device.handle, bytes), "cudaMalloc");
}

GpuDevice find_gpu() {
    cudaDeviceProp properties{};
    int driver = 0;
    check_cuda(cudaSetDevice(0), "cudaSetDevice");
    check_cuda(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
    check_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    return {properties.name, "sm_" + std::to_string(properties.major) + std::to_string(properties.minor),
            std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10)};
}

}  // namespace physedge
