// ONNX Runtime on the CPU, through its C library.
//
// Its Run has no limit of time and its RunAsync needs a second thread of its own pool, which one core has not. So a
// worker of ours calls Run, and the caller waits for the worker, as long as it was told to.
#include <onnxruntime_c_api.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engines/engine.hpp"
#include "text.hpp"

namespace physedge {

namespace {

const OrtApi* library() {
    const OrtApi* api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (api == nullptr)
        throw std::runtime_error(std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() +
                                 " is older than the header that this was built with");
    return api;
}

// All that a call of Run touches. Where one hangs, this is given up as a whole: memory lost, none overwritten.
class Session {
public:
    explicit Session(const EngineRequest& request) : api_(library()) {
        try {
            open(request);
        } catch (...) {
            close();
            throw;
        }
    }
    ~Session() {
        if (worker_.joinable()) {
            {
                std::lock_guard<std::mutex> lock(mutex_);
                is_ending_ = true;
            }
            changed_.notify_all();
            worker_.join();
        }
        close();
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    void start() noexcept {
        std::lock_guard<std::mutex> lock(mutex_);
        state_ = Engine::State::busy;
        changed_.notify_all();
    }
    Engine::State wait(unsigned milliseconds) noexcept {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return state_ != Engine::State::busy; });
        return state_;
    }
    // Ask the run to end between two operators; true where it did.
    bool stop(unsigned patience_ms) noexcept {
        api_->ReleaseStatus(api_->RunOptionsSetTerminate(run_options_));
        if (wait(patience_ms) == Engine::State::busy) return false;
        api_->ReleaseStatus(api_->RunOptionsUnsetTerminate(run_options_));
        return true;
    }
    // The worker is left behind in its call.
    void abandon() { worker_.detach(); }
    const char* failure() const noexcept { return failure_; }

private:
    const OrtApi* api_;
    OrtEnv* environment_ = nullptr;
    OrtSession* session_ = nullptr;
    OrtRunOptions* run_options_ = nullptr;
    OrtMemoryInfo* memory_ = nullptr;
    OrtValue* input_ = nullptr;
    OrtValue* outputs_[PHYSEDGE_MOST_OUTPUTS] = {};
    std::string input_name_;
    std::vector<std::string> output_names_;
    const char* output_pointers_[PHYSEDGE_MOST_OUTPUTS] = {};
    std::mutex mutex_;
    std::condition_variable changed_;
    Engine::State state_ = Engine::State::done;
    bool is_ending_ = false;
    char failure_[200] = "";
    std::thread worker_;

    void check(OrtStatus* status, const char* what) const {
        if (status == nullptr) return;
        std::string text = std::string(what) + ": " + api_->GetErrorMessage(status);
        api_->ReleaseStatus(status);
        throw std::runtime_error(text.substr(0, text.find('\n')));
    }

    void open(const EngineRequest& request) {
        check(api_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "physedge", &environment_), "ONNX Runtime cannot start");
        check(api_->DisableTelemetryEvents(environment_), "telemetry");
        make_session(request);
        check(api_->CreateRunOptions(&run_options_), "no run can be made");
        check(api_->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory_), "no memory can be described");
        bind_input(request);
        for (const Output& output : request.outputs) output_names_.push_back(output.name);
        for (std::size_t index = 0; index < request.outputs.size(); ++index)
            bind_output(request.outputs[index], request.output_buffers[index], index);
        worker_ = std::thread([this] { work(); });
    }

    void close() {
        for (OrtValue* output : outputs_) api_->ReleaseValue(output);
        api_->ReleaseValue(input_);
        api_->ReleaseMemoryInfo(memory_);
        api_->ReleaseRunOptions(run_options_);
        api_->ReleaseSession(session_);
        api_->ReleaseEnv(environment_);
    }

    void make_session(const EngineRequest& request) {
        OrtSessionOptions* options = nullptr;
        check(api_->CreateSessionOptions(&options), "no options can be made");
        std::unique_ptr<OrtSessionOptions, void (*)(OrtSessionOptions*)> owned(options, api_->ReleaseSessionOptions);
        check(api_->SetSessionLogSeverityLevel(options, ORT_LOGGING_LEVEL_FATAL), "the log");
        if (request.threads != 0) check(api_->SetIntraOpNumThreads(options, static_cast<int>(request.threads)), "the threads");
        check(api_->SetInterOpNumThreads(options, 1), "the threads");
        // Spinning workers take the core from the capture and display threads beside them.
        check(api_->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"), "the threads");
        check(api_->CreateSessionFromArray(environment_, request.graph.data(), request.graph.size(), options, &session_),
              "the graph cannot be opened");
    }

    std::string name_of(OrtStatus* (ORT_API_CALL* get)(const OrtSession*, size_t, OrtAllocator*, char**), std::size_t index) const {
        OrtAllocator* allocator = nullptr;
        char* name = nullptr;
        check(api_->GetAllocatorWithDefaultOptions(&allocator), "names");
        check(get(session_, index, allocator, &name), "names");
        std::string copy = name;
        check(api_->AllocatorFree(allocator, name), "names");
        return copy;
    }

    // Whether a side that the graph leaves open, or states, fits what the manifest says.
    bool has_form(OrtStatus* (ORT_API_CALL* get)(const OrtSession*, size_t, OrtTypeInfo**), std::size_t index,
                  const std::vector<std::int64_t>& wanted, ONNXTensorElementDataType type) const {
        OrtTypeInfo* info = nullptr;
        check(get(session_, index, &info), "a form");
        std::unique_ptr<OrtTypeInfo, void (*)(OrtTypeInfo*)> owned(info, api_->ReleaseTypeInfo);
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        check(api_->CastTypeInfoToTensorInfo(info, &tensor), "a form");
        if (tensor == nullptr) return false;
        ONNXTensorElementDataType found_type{};
        std::size_t rank = 0;
        check(api_->GetTensorElementType(tensor, &found_type), "a form");
        check(api_->GetDimensionsCount(tensor, &rank), "a form");
        if (found_type != type || rank != wanted.size()) return false;
        std::vector<std::int64_t> sides(rank);
        check(api_->GetDimensions(tensor, sides.data(), rank), "a form");
        for (std::size_t axis = 0; axis < rank; ++axis)
            if (sides[axis] >= 0 && sides[axis] != wanted[axis]) return false;
        return true;
    }

    void bind_input(const EngineRequest& request) {
        std::size_t inputs = 0, bytes = request.is_picture ? 1 : sizeof(float);
        for (std::int64_t side : request.input_shape) bytes *= static_cast<std::size_t>(side);
        ONNXTensorElementDataType type = request.is_picture ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        check(api_->SessionGetInputCount(session_, &inputs), "the input");
        if (inputs != 1) throw CannotAnswer("the graph has not one input");
        if (!has_form(api_->SessionGetInputTypeInfo, 0, request.input_shape, type)) throw CannotAnswer("the graph does not take such a frame");
        input_name_ = name_of(api_->SessionGetInputName, 0);
        check(api_->CreateTensorWithDataAsOrtValue(memory_, const_cast<void*>(request.input), bytes, request.input_shape.data(),
                                                   request.input_shape.size(), type, &input_),
              "the input");
    }

    void bind_output(const Output& output, float* buffer, std::size_t place) {
        std::vector<std::int64_t> shape{1};
        shape.insert(shape.end(), output.shape.begin(), output.shape.end());
        std::size_t count = 0, index = 0;
        check(api_->SessionGetOutputCount(session_, &count), "the outputs");
        while (index < count && name_of(api_->SessionGetOutputName, index) != output.name) ++index;
        if (index == count) throw CannotAnswer("the graph has no output " + quoted(output.name));
        if (!has_form(api_->SessionGetOutputTypeInfo, index, shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT))
            throw CannotAnswer(quoted(output.name) + " has another shape or type than the manifest says");
        check(api_->CreateTensorWithDataAsOrtValue(memory_, buffer, output.floats() * sizeof(float), shape.data(), shape.size(),
                                                   ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &outputs_[place]),
              "an output");
        output_pointers_[place] = output_names_[place].c_str();
    }

    void work() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            changed_.wait(lock, [&] { return is_ending_ || state_ == Engine::State::busy; });
            if (is_ending_) return;
            lock.unlock();
            const char* input_name = input_name_.c_str();
            OrtStatus* status = api_->Run(session_, run_options_, &input_name, &input_, 1, output_pointers_, output_names_.size(), outputs_);
            lock.lock();
            if (status != nullptr) copy_text(failure_, api_->GetErrorMessage(status));
            state_ = status == nullptr ? Engine::State::done : Engine::State::failed;
            api_->ReleaseStatus(status);
            changed_.notify_all();
        }
    }
};

class OnnxRuntimeEngine final : public Engine {
public:
    ~OnnxRuntimeEngine() override {
        if (!is_lost_) return;
        session_->abandon();
        (void)session_.release();
    }

    void open(const EngineRequest& request) override { session_ = std::make_unique<Session>(request); }

    State start() noexcept override {
        session_->start();
        return State::busy;
    }
    State wait(unsigned milliseconds) noexcept override { return session_->wait(milliseconds); }
    bool cancel() noexcept override {
        constexpr unsigned patience_ms = 1000;
        is_lost_ = is_lost_ || !session_->stop(patience_ms);
        return !is_lost_;
    }
    const char* failure() const noexcept override { return session_->failure(); }
    std::string version() const override { return OrtGetApiBase()->GetVersionString(); }

private:
    std::unique_ptr<Session> session_;
    bool is_lost_ = false;
};

}  // namespace

std::unique_ptr<Engine> make_onnxruntime_engine() { return std::make_unique<OnnxRuntimeEngine>(); }

}  // namespace physedge
