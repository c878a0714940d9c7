// A stand-in for TensorRT's header of this name: what libphysedge calls, as NVIDIA documents it for TensorRT 10, and
// nothing else. Not NVIDIA's. Its "plans" are tables (plan.hpp): see cuda_runtime_api.h beside this file for why.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace nvinfer1 {

using AsciiChar = char;

enum class DataType : std::int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4, kUINT8 = 5 };
enum class TensorIOMode : std::int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };

class Dims64 {
public:
    static constexpr std::int32_t MAX_DIMS{8};
    std::int32_t nbDims;
    std::int64_t d[MAX_DIMS];
};
using Dims = Dims64;

class ILogger {
public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
    virtual void log(Severity severity, AsciiChar const* message) noexcept = 0;
    virtual ~ILogger() = default;
};

class INoCopy {
public:
    virtual ~INoCopy() = default;
    INoCopy(INoCopy const&) = delete;
    INoCopy& operator=(INoCopy const&) = delete;

protected:
    INoCopy() = default;
};

class IExecutionContext : public INoCopy {
public:
    bool setTensorAddress(char const* tensorName, void* data) noexcept;
    bool enqueueV3(cudaStream_t stream) noexcept;

protected:
    struct Implementation* mImpl = nullptr;
};

class ICudaEngine : public INoCopy {
public:
    std::int32_t getNbIOTensors() const noexcept;
    char const* getIOTensorName(std::int32_t index) const noexcept;
    TensorIOMode getTensorIOMode(char const* tensorName) const noexcept;
    Dims getTensorShape(char const* tensorName) const noexcept;
    DataType getTensorDataType(char const* tensorName) const noexcept;
    IExecutionContext* createExecutionContext() noexcept;

protected:
    struct Implementation* mImpl = nullptr;
};

class IRuntime : public INoCopy {
public:
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept;
    void setEngineHostCodeAllowed(bool allowed) noexcept;
    bool getEngineHostCodeAllowed() const noexcept;

protected:
    ILogger* mLogger = nullptr;
    bool mHostCodeAllowed = false;
};

IRuntime* createInferRuntime(ILogger& logger) noexcept;

}  // namespace nvinfer1

extern "C" {
std::int32_t getInferLibMajorVersion() noexcept;
std::int32_t getInferLibMinorVersion() noexcept;
std::int32_t getInferLibPatchVersion() noexcept;
std::int32_t getInferLibBuildVersion() noexcept;
}
