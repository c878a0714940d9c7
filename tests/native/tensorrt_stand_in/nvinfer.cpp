// The stand-in for TensorRT's runtime: see NvInfer.h beside this file.
#include <NvInfer.h>

#include <cmath>
#include <cstring>

#include "plan.hpp"

namespace nvinfer1 {

namespace {

constexpr std::int32_t major_version = 10, minor_version = 3, patch_version = 0, build_version = 26;

// Counted like CUDA's objects, so that a test sees what is not given back.
struct Counted {
    Counted() { stand_in_count(1); }
    ~Counted() { stand_in_count(-1); }
};

}  // namespace

struct Implementation {
    PlanHead head;
    PlanTensor tensors[10];
    void* addresses[10];
    ILogger* logger;

    std::int32_t find(char const* name) const {
        for (std::int32_t index = 0; index < head.tensors; ++index)
            if (std::strcmp(tensors[index].name, name) == 0) return index;
        return -1;
    }

    // What the "GPU" does: every output from the input's table.
    void work() const {
        std::int32_t input = 0;
        while (tensors[input].is_input == 0) ++input;
        const PlanTensor& given = tensors[input];
        std::int64_t channels = given.sides[given.rank - 1];
        for (std::int32_t index = 0; index < head.tensors; ++index) {
            const PlanTensor& output = tensors[index];
            if (output.is_input != 0) continue;
            auto* values = static_cast<float*>(addresses[index]);
            for (std::int64_t value = 0; value < output.values(); ++value)
                values[value] = given.type == static_cast<std::int32_t>(DataType::kUINT8)
                                    ? output.table[static_cast<const std::uint8_t*>(addresses[input])[value * channels]]
                                    : output.scale * *static_cast<const float*>(addresses[input]) + output.offset;
        }
    }
};

namespace {

class Context final : public IExecutionContext {
public:
    explicit Context(const Implementation& plan) : plan_(plan) { mImpl = &plan_; }

private:
    Implementation plan_;
    Counted counted_;
};

class PlanEngine final : public ICudaEngine {
public:
    explicit PlanEngine(const Implementation& plan) : plan_(plan) { mImpl = &plan_; }

private:
    Implementation plan_;
    Counted counted_;
};

class Runtime final : public IRuntime {
public:
    explicit Runtime(ILogger& logger) { mLogger = &logger; }

private:
    Counted counted_;
};

}  // namespace

bool IExecutionContext::setTensorAddress(char const* tensorName, void* data) noexcept {
    std::int32_t index = mImpl->find(tensorName);
    if (index < 0 || mImpl->tensors[index].takes_no_address != 0) return false;
    mImpl->addresses[index] = data;
    return true;
}

bool IExecutionContext::enqueueV3(cudaStream_t stream) noexcept {
    if (stand_in_has("enqueue") != 0) return false;
    for (std::int32_t index = 0; index < mImpl->head.tensors; ++index)
        if (mImpl->addresses[index] == nullptr) return false;
    return cudaLaunchHostFunc(stream, [](void* plan) { static_cast<const Implementation*>(plan)->work(); }, mImpl) == cudaSuccess;
}

std::int32_t ICudaEngine::getNbIOTensors() const noexcept { return mImpl->head.tensors; }
char const* ICudaEngine::getIOTensorName(std::int32_t index) const noexcept { return mImpl->tensors[index].name; }
TensorIOMode ICudaEngine::getTensorIOMode(char const* tensorName) const noexcept {
    std::int32_t index = mImpl->find(tensorName);
    return index < 0 ? TensorIOMode::kNONE : mImpl->tensors[index].is_input != 0 ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
}
Dims ICudaEngine::getTensorShape(char const* tensorName) const noexcept {
    std::int32_t index = mImpl->find(tensorName);
    Dims shape{-1, {}};
    if (index < 0) return shape;
    shape.nbDims = mImpl->tensors[index].rank;
    std::memcpy(shape.d, mImpl->tensors[index].sides, sizeof shape.d);
    return shape;
}
DataType ICudaEngine::getTensorDataType(char const* tensorName) const noexcept {
    return static_cast<DataType>(mImpl->tensors[mImpl->find(tensorName)].type);
}
IExecutionContext* ICudaEngine::createExecutionContext() noexcept {
    if (stand_in_has("no context") == 0) return new Context(*mImpl);
    mImpl->logger->log(ILogger::Severity::kERROR, "[executionContext.cpp::initializeExecutionContext] out of memory\nmore");
    return nullptr;
}

ICudaEngine* IRuntime::deserializeCudaEngine(void const* blob, std::size_t size) noexcept {
    Implementation plan{};
    plan.logger = mLogger;
    if (size >= sizeof plan.head) std::memcpy(&plan.head, blob, sizeof plan.head);
    if (plan.head.carries_runtime != 0 && !mHostCodeAllowed) {
        mLogger->log(ILogger::Severity::kERROR, "the plan contains host code, which was not allowed");
        return nullptr;
    }
    bool is_plan = std::memcmp(plan.head.magic, "STAND-IN", sizeof plan.head.magic) == 0;
    const std::int32_t version = major_version * 1000 + minor_version * 100 + patch_version;
    bool is_readable = plan.head.version == version || (plan.head.version < version && plan.head.carries_runtime != 0);
    if (!is_plan || !is_readable) {
        mLogger->log(ILogger::Severity::kWARNING, "a warning is no reason");
        mLogger->log(ILogger::Severity::kERROR, is_plan ? "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed." : "magicTag does not match");
        return nullptr;
    }
    std::memcpy(plan.tensors, static_cast<const char*>(blob) + sizeof plan.head, static_cast<std::size_t>(plan.head.tensors) * sizeof(PlanTensor));
    return new PlanEngine(plan);
}

void IRuntime::setEngineHostCodeAllowed(bool allowed) noexcept { mHostCodeAllowed = allowed; }
bool IRuntime::getEngineHostCodeAllowed() const noexcept { return mHostCodeAllowed; }

IRuntime* createInferRuntime(ILogger& logger) noexcept { return new Runtime(logger); }

}  // namespace nvinfer1

extern "C" {
std::int32_t getInferLibMajorVersion() noexcept { return nvinfer1::major_version; }
std::int32_t getInferLibMinorVersion() noexcept { return nvinfer1::minor_version; }
std::int32_t getInferLibPatchVersion() noexcept { return nvinfer1::patch_version; }
std::int32_t getInferLibBuildVersion() noexcept { return nvinfer1::build_version; }
}
