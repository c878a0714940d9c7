// TensorRT 10 and 11: an engine that was built on this device, run with buffers that are made once. It never builds one.
//
// Copy in, network and copy out are recorded once as a CUDA graph, where CUDA can, and launched as one. CUDA's own
// waiting has no limit of time; so its event is asked, with naps of 50 microseconds, as long as the caller will wait.
#include <NvInfer.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "engines/cuda.hpp"
#include "engines/engine.hpp"
#include "engines/plan_store.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr unsigned trial_ms = 60000;  // the first run loads kernels
constexpr const char* build_again = "build it again with: physedge export --build BUNDLE";

// The first error of a thread; the only reason that TensorRT gives for an empty answer.
thread_local char first_error[200] = "";

// TensorRT wants one logger for all of its objects in a process. It keeps nothing itself.
class Messages final : public nvinfer1::ILogger {
public:
    void log(Severity severity, nvinfer1::AsciiChar const* text) noexcept override {
        bool is_error = severity == Severity::kERROR || severity == Severity::kINTERNAL_ERROR;
        if (is_error && first_error[0] == '\0') copy_text(first_error, std::string_view(text).substr(0, std::strcspn(text, "\n")));
    }
    static std::string reason() { return first_error[0] != '\0' ? first_error : "the library gave no reason"; }
};

Messages& messages() {
    static Messages one;
    return one;
}

std::string shape_text(const nvinfer1::Dims& shape) {
    std::string text;
    for (std::int32_t axis = 0; axis < shape.nbDims; ++axis) text += (axis == 0 ? "" : " x ") + std::to_string(shape.d[axis]);
    return text;
}

// "10.3.0", as the library says it and as older Python packages do; and with the build's number, as newer ones do.
std::string library_version() {
    return std::to_string(getInferLibMajorVersion()) + "." + std::to_string(getInferLibMinorVersion()) + "." + std::to_string(getInferLibPatchVersion());
}

std::vector<PlanKey> plan_keys(const EngineRequest& request, const GpuDevice& device) {
    PlanKey key{{"bundle_sha256", request.bundle_sha256}, {"graph_sha256", request.graph_sha256}, {"recipe_sha256", request.recipe_sha256},
                {"builder", "tensorrt"},                  {"version", library_version()},         {"architecture", device.architecture},
                {"device", device.name},                  {"driver", device.driver}};
    PlanKey with_build = key;
    with_build["version"] += "." + std::to_string(getInferLibBuildVersion());
    return {key, with_build};
}

// All that the GPU works with; given up as a whole where it hangs. What was made last goes first.
struct Session {
    std::unique_ptr<nvinfer1::IRuntime> runtime;
    std::unique_ptr<nvinfer1::ICudaEngine> engine;
    Owned<cudaStream_t, cudaStreamDestroy> stream;
    GpuTensor input, outputs[PHYSEDGE_MOST_OUTPUTS];
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    Owned<cudaEvent_t, cudaEventDestroy> done;
    Owned<cudaGraph_t, cudaGraphDestroy> graph;
    Owned<cudaGraphExec_t, cudaGraphExecDestroy> launch;
};

class TensorRtEngine final : public Engine {
public:
    ~TensorRtEngine() override {
        if (is_lost_) (void)session_.release();
    }

    void open(const EngineRequest& request) override {
        request_ = request;
        request_.graph = {};
        session_ = std::make_unique<Session>();
        GpuDevice device = find_gpu();
        version_ = library_version() + " on " + device.name + " (" + device.architecture + ")";
        load(load_plan(request.cache_folder, plan_keys(request, device)));
        check_cuda(cudaStreamCreate(&session_->stream.handle), "cudaStreamCreate");
        check_cuda(cudaEventCreateWithFlags(&session_->done.handle, cudaEventDisableTiming), "cudaEventCreateWithFlags");
        bind();
        warm_up();
        record();
    }

    State start() noexcept override {
        std::memcpy(session_->input.host.handle, request_.input, session_->input.bytes);
        return launch();
    }

    State wait(unsigned milliseconds) noexcept override {
        std::int64_t until_ns = physedge_now_ns() + std::int64_t{milliseconds} * 1000000;
        cudaError_t status;
        while ((status = cudaEventQuery(session_->done.handle)) == cudaErrorNotReady) {
            if (physedge_now_ns() >= until_ns) return State::busy;
            timespec nap{0, 50000};
            nanosleep(&nap, nullptr);
        }
        if (status != cudaSuccess) return failed(cudaGetErrorString(status));
        for (std::size_t index = 0; index < request_.outputs.size(); ++index)
            std::memcpy(request_.output_buffers[index], session_->outputs[index].host.handle, session_->outputs[index].bytes);
        return State::done;
    }

    // Work on a GPU cannot be called back: it ends, or everything that it may write to is left behind.
    bool cancel() noexcept override {
        constexpr unsigned patience_ms = 1000;
        is_lost_ = wait(patience_ms) == State::busy;
        return !is_lost_;
    }

    const char* failure() const noexcept override { return failure_; }
    std::string version() const override { return version_; }

private:
    EngineRequest request_;
    std::unique_ptr<Session> session_;
    std::string version_;
    bool is_lost_ = false;
    char failure_[200] = "";

    State failed(const char* why) noexcept {
        copy_text(failure_, why);
        return State::failed;
    }

    void load(const Plan& plan) {
        first_error[0] = '\0';
        session_->runtime.reset(nvinfer1::createInferRuntime(messages()));
        if (session_->runtime == nullptr) throw std::runtime_error("TensorRT cannot start: " + Messages::reason());
        // Code of the plan runs in this process where TensorRT is told so, and only there: for a plan that this device
        // built so, for a bundle whose hashes held.
        if (plan.carries_runtime) session_->runtime->setEngineHostCodeAllowed(true);
        session_->engine.reset(session_->runtime->deserializeCudaEngine(plan.bytes.data(), plan.bytes.size()));
        if (session_->engine == nullptr)
            refuse(PHYSEDGE_INTEGRITY, "PE-TRT-013", "TensorRT " + library_version() + " does not load the engine (" + Messages::reason() + ")",
                   "an engine that this library built on this GPU", build_again);
        session_->context.reset(session_->engine->createExecutionContext());
        if (session_->context == nullptr)
            refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-014", "TensorRT cannot make the engine ready (" + Messages::reason() + ")", "enough free GPU memory",
                   "close what else runs on the GPU, or use another engine");
    }

    [[noreturn]] static void other_tensor(const std::string& what, const std::string& expected) {
        refuse(PHYSEDGE_INTEGRITY, "PE-TRT-015", "the engine's tensor " + what, expected, build_again);
    }

    void bind() {
        const char* input = nullptr;
        std::size_t found = 0;
        for (std::int32_t index = 0; index < session_->engine->getNbIOTensors(); ++index) {
            const char* name = session_->engine->getIOTensorName(index);
            if (session_->engine->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT) {
                if (input != nullptr) other_tensor(quoted(name) + " is a second input", "one input");
                input = name;
                make(session_->input, name, request_.input_shape, request_.is_picture ? nvinfer1::DataType::kUINT8 : nvinfer1::DataType::kFLOAT);
                continue;
            }
            auto is_it = [&](const Output& one) { return one.name == name; };
            auto output = std::find_if(request_.outputs.begin(), request_.outputs.end(), is_it);
            if (output == request_.outputs.end()) other_tensor(quoted(name) + " is none that the bundle names", "the bundle's outputs");
            std::vector<std::int64_t> sides{1};
            sides.insert(sides.end(), output->shape.begin(), output->shape.end());
            make(session_->outputs[output - request_.outputs.begin()], name, sides, nvinfer1::DataType::kFLOAT);
            ++found;
        }
        if (input == nullptr || found != request_.outputs.size()) other_tensor("list is too short", "an input and all of the bundle's outputs");
    }

    void make(GpuTensor& tensor, const char* name, const std::vector<std::int64_t>& sides, nvinfer1::DataType type) {
        nvinfer1::Dims shape = session_->engine->getTensorShape(name);
        bool is_same = shape.nbDims == static_cast<std::int32_t>(sides.size()) && session_->engine->getTensorDataType(name) == type;
        std::size_t bytes = type == nvinfer1::DataType::kUINT8 ? 1 : sizeof(float);
        for (std::size_t axis = 0; is_same && axis < sides.size(); ++axis) {
            is_same = shape.d[axis] == sides[axis];
            bytes *= static_cast<std::size_t>(sides[axis]);
        }
        if (!is_same) other_tensor(quoted(name) + " is " + shape_text(shape) + " or of another type", "the shape and type of the bundle");
        tensor.make(bytes);
        if (!session_->context->setTensorAddress(name, tensor.device.handle)) other_tensor(quoted(name) + " takes no memory", "memory for each tensor");
    }

    // Copy in, network, copy out; an error, or nullptr.
    const char* queue() noexcept {
        cudaStream_t stream = session_->stream.handle;
        const GpuTensor& input = session_->input;
        cudaError_t status = cudaMemcpyAsync(input.device.handle, input.host.handle, input.bytes, cudaMemcpyHostToDevice, stream);
        if (status != cudaSuccess) return cudaGetErrorString(status);
        if (!session_->context->enqueueV3(stream)) return "TensorRT did not take the frame";
        for (std::size_t index = 0; index < request_.outputs.size(); ++index) {
            const GpuTensor& output = session_->outputs[index];
            status = cudaMemcpyAsync(output.host.handle, output.device.handle, output.bytes, cudaMemcpyDeviceToHost, stream);
            if (status != cudaSuccess) return cudaGetErrorString(status);
        }
        return nullptr;
    }

    State launch() noexcept {
        const char* error = nullptr;
        cudaError_t status = cudaSuccess;
        if (session_->launch.handle != nullptr)
            status = cudaGraphLaunch(session_->launch.handle, session_->stream.handle);
        else
            error = queue();
        if (error != nullptr) return failed(error);
        if (status == cudaSuccess) status = cudaEventRecord(session_->done.handle, session_->stream.handle);
        return status == cudaSuccess ? State::busy : failed(cudaGetErrorString(status));
    }

    // Record the three steps once; where that is not possible they are queued one by one.
    void record() {
        cudaStream_t stream = session_->stream.handle;
        if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return;
        const char* error = queue();
        cudaError_t status = cudaStreamEndCapture(stream, &session_->graph.handle);
        if (error != nullptr || status != cudaSuccess || cudaGraphInstantiate(&session_->launch.handle, session_->graph.handle, 0) != cudaSuccess)
            session_->launch.handle = nullptr;
        (void)cudaGetLastError();
    }

    // Run until nothing is loaded any more, and look at the answers: a broken engine answers everything alike.
    void warm_up() {
        std::memset(session_->input.host.handle, 0, session_->input.bytes);
        std::vector<std::vector<float>> dark = answers_of_a_trial();
        fill_with_noise();
        std::vector<std::vector<float>> loud = answers_of_a_trial();
        bool is_one_value = dark == loud;
        for (const std::vector<float>& values : loud)
            is_one_value = is_one_value && std::all_of(values.begin(), values.end(), [&](float value) { return value == values[0]; });
        if (is_one_value) useless("a black frame and a noisy one with one and the same value everywhere");
    }

    void fill_with_noise() {
        std::minstd_rand generator(1);
        void* input = session_->input.host.handle;
        if (request_.is_picture) {
            std::generate_n(static_cast<std::uint8_t*>(input), session_->input.bytes, [&] { return static_cast<std::uint8_t>(generator() >> 8); });
            return;
        }
        std::normal_distribution<float> volts(0, 1e-3F);
        std::generate_n(static_cast<float*>(input), session_->input.bytes / sizeof(float), [&] { return volts(generator); });
    }

    std::vector<std::vector<float>> answers_of_a_trial() {
        State state = launch();
        if (state == State::busy) state = wait(trial_ms);
        is_lost_ = state == State::busy;
        if (state != State::done)
            refuse(PHYSEDGE_ENVIRONMENT, "PE-TRT-017", std::string("the GPU does not run the engine (") + (is_lost_ ? "no answer in a minute" : failure_) + ")",
                   "a GPU that answers", "look at nvidia-smi (tegrastats on a Jetson), or use another engine");
        std::vector<std::vector<float>> answers;
        for (std::size_t index = 0; index < request_.outputs.size(); ++index) {
            const float* values = request_.output_buffers[index];
            answers.emplace_back(values, values + request_.outputs[index].floats());
            if (!std::all_of(answers.back().begin(), answers.back().end(), [](float value) { return std::isfinite(value); }))
                useless("a trial frame with values of " + request_.outputs[index].name + " that are not finite");
        }
        return answers;
    }

    [[noreturn]] static void useless(const std::string& what) {
        refuse(PHYSEDGE_INTEGRITY, "PE-TRT-016", "the engine answers " + what, "finite answers that depend on the frame", "use a graph of higher precision: fp32");
    }
};

}  // namespace

std::unique_ptr<Engine> make_tensorrt_engine() { return std::make_unique<TensorRtEngine>(); }

}  // namespace physedge
