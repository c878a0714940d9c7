#include "net.hpp"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "choice.hpp"
#include "credibility.hpp"
#include "graph_check.hpp"
#include "graph_interface.hpp"
#include "pixels.hpp"
#include "refusal.hpp"
#include "resize_avx2.hpp"
#include "text.hpp"
#include "update.hpp"

using namespace physedge;

namespace {

constexpr double ns_per_ms = 1e6;

double ms_between(std::int64_t start_ns, std::int64_t end_ns) { return static_cast<double>(end_ns - start_ns) / ns_per_ms; }

// Holds a handle for one call; a second thread finds it taken and goes away.
class Use {
public:
    explicit Use(std::atomic_flag& flag) : flag_(flag), is_mine_(!flag.test_and_set(std::memory_order_acquire)) {}
    ~Use() {
        if (is_mine_) flag_.clear(std::memory_order_release);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    bool is_mine() const { return is_mine_; }

private:
    std::atomic_flag& flag_;
    bool is_mine_;
};

physedge_status in_use(physedge_error* error) {
    return report(error, PHYSEDGE_USAGE, "PE-NATIVE-002", "another thread is using this handle",
                  "one thread at a time", "open one network for each thread, or take turns");
}

physedge_frame golden_frame(const GoldenCase& golden, std::string_view data, bool is_picture) {
    physedge_frame frame{};
    if (!is_picture) {
        frame.format = PHYSEDGE_VOLTAGES;
        frame.voltage_count = data.size() / sizeof(float);
        return frame;
    }
    const std::vector<std::int64_t>& shape = golden.shape;
    bool is_plane = shape.size() == 2 || (shape.size() == 3 && shape[2] == 1);
    frame.format = is_plane ? PHYSEDGE_GREY : PHYSEDGE_RGB;
    frame.pixels = reinterpret_cast<const std::uint8_t*>(data.data());
    bool is_frame = is_plane || (shape.size() == 3 && shape[2] == 3);
    frame.height_px = is_frame ? static_cast<std::uint32_t>(std::min<std::int64_t>(shape[0], UINT32_MAX)) : 0;
    frame.width_px = is_frame ? static_cast<std::uint32_t>(std::min<std::int64_t>(shape[1], UINT32_MAX)) : 0;
    return frame;
}

[[noreturn]] void cannot_answer(const std::string& engine, const std::string& frame, const std::string& why) {
    refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-021", engine + " cannot answer " + frame + " (" + why + ")",
           "the outputs that the manifest names", "do not use it here; ask its maker");
}

// On a device with a configuration nothing runs that is older than what was proven there.
void refuse_older(const physedge_bundle& bundle) {
    if (bundle.root.empty()) return;
    std::int64_t floor = release_floor(bundle.root, bundle.manifest.spec.name);
    if (static_cast<std::int64_t>(bundle.manifest.release) >= floor) return;
    refuse(PHYSEDGE_INTEGRITY, "PE-INSTALL-001", bundle.name + " is release " + std::to_string(bundle.manifest.release),
           "release " + std::to_string(floor) + " or newer, since that has run here", "install a newer release");
}

}  // namespace

physedge_net::physedge_net(const physedge_bundle& bundle, const physedge_open_options& options)
    : spec_(bundle.manifest.spec), outputs_(bundle.manifest.outputs), trust_(bundle.manifest.trust), bundle_trust_(bundle.trust), options_(options) {
    const Manifest& manifest = bundle.manifest;
    refuse_older(bundle);
    if (manifest.verdict == "REJECT" || manifest.verdict == "INCONCLUSIVE") {
        if (options.allow_rejected == 0)
            refuse(PHYSEDGE_GATE_FAILED, "PE-BUNDLE-012", "the verdict on " + bundle.name + " is " + manifest.verdict, "ACCEPT",
                   "export it again, or allow a rejected bundle to look at it all the same");
        if (!bundle.may_be_rejected)
            refuse(PHYSEDGE_USAGE, "PE-SIGN-016", "allow_rejected, which weakens what the device's configuration demands",
                   "\"rejected\" among the options of its section [allow]", "leave it out, or ask whoever administers this device");
        if (!bundle.root.empty())
            bundle_trust_ += std::string(bundle_trust_.find("; weakened by ") == std::string::npos ? "; weakened by " : ", ") + "--allow-rejected";
    }
    std::string wanted = options.engine != nullptr ? options.engine : "auto";
    engine_name_ = wanted == "auto" ? choose_engine(manifest) : wanted;
    if (find_engine(engine_name_) == nullptr)
        refuse(PHYSEDGE_USAGE, "PE-ENGINE-001", "the engine " + quoted(engine_name_), std::string("auto, ") + physedge_engines(),
               "name one of these, or build the library with it");
    artefact_ = choose_artefact(manifest, engine_name_, options.precision != nullptr ? options.precision : "");
    is_full_precision_ = artefact_.entry == manifest.artefacts[0].entry;
    has_own_ = artefact_.own && artefact_.own->engine == engine_name_;
    feed_watchdog(PHYSEDGE_STAGE_OPEN);
    std::int64_t started_ns = physedge_now_ns();
    check_graph(bundle.contents.at(artefact_.entry), artefact_.entry + " of " + bundle.name);
    // The stand-in answers without a graph.
    if (engine_name_ != "fake") check_interface(bundle.contents.at(artefact_.entry), manifest, artefact_.entry + " of " + bundle.name);
    plan_memory(bundle);
    feed_watchdog(PHYSEDGE_STAGE_OPEN);
    open_engine(bundle);
    std::int64_t loaded_ns = physedge_now_ns();
    load_ms_ = ms_between(started_ns, loaded_ns);
    if (engine_name_ != "fake") replay_golden(bundle);
    golden_ms_ = ms_between(loaded_ns, physedge_now_ns());
    // The caller's strings may be gone by the next call.
    options_.engine = options_.precision = options_.cache_folder = nullptr;
    for (const std::string& name : spec_.classes) class_names_.push_back(name.c_str());
}

physedge_net::~physedge_net() {
    // An engine that does not let go of the buffers keeps them: memory lost is better than memory overwritten.
    if (is_dead_ && engine_ != nullptr && !engine_->cancel()) new Arena(std::move(arena_));
}

void physedge_net::plan_memory(const physedge_bundle& bundle) {
    if (outputs_.empty() || outputs_.size() > PHYSEDGE_MOST_OUTPUTS)
        cannot_answer(engine_name_, "it", std::to_string(outputs_.size()) + " outputs");
    const char* wanted = spec_.task == PHYSEDGE_RECONSTRUCTION ? "image" : "probability";
    auto answer = std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& one) { return one.name == wanted; });
    if (answer == outputs_.end()) cannot_answer(engine_name_, "it", std::string("no output ") + wanted);
    answer_ = static_cast<std::size_t>(answer - outputs_.begin());
    buffers_.resize(outputs_.size());
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        const Output& output = outputs_[index];
        if (output.shape.size() > PHYSEDGE_MOST_AXES || output.floats() == 0 || output.floats() > (1u << 28))
            cannot_answer(engine_name_, "it", "the shape of " + quoted(output.name));
        arena_.plan(&buffers_[index], output.floats());
    }
    if (!spec_.frame) {
        arena_.plan(&voltages_, std::size_t{spec_.voltages} * spec_.voltage_frames);
    } else {
        // A segmentation's answer lies on the grid that the mask has.
        if (spec_.task == PHYSEDGE_SEGMENTATION) {
            const std::vector<std::int64_t>& shape = answer->shape;
            if (shape.size() != 3 || shape[1] != spec_.frame->height || shape[2] != spec_.frame->width)
                cannot_answer(engine_name_, "it", "probability is not on the grid");
        }
        std::int64_t height = options_.largest_height_px, width = options_.largest_width_px;
        for (const GoldenCase& golden : bundle.manifest.golden)
            if (golden.shape.size() >= 2) {
                height = std::max(height, golden.shape[0]);
                width = std::max(width, golden.shape[1]);
            }
        constexpr std::int64_t most_px = 1 << 15;
        if (height < 1 || width < 1 || height > most_px || width > most_px)
            refuse(PHYSEDGE_USAGE, "PE-NATIVE-001", "frames of up to " + std::to_string(width) + "x" + std::to_string(height),
                   "1 to " + std::to_string(most_px) + " pixels a side", "correct largest_width_px and largest_height_px");
        options_.largest_height_px = static_cast<std::uint32_t>(height);
        options_.largest_width_px = static_cast<std::uint32_t>(width);
        preparer_ = std::make_unique<Preparer>(*spec_.frame, static_cast<int>(height), static_cast<int>(width), arena_, has_avx2());
        arena_.plan(&picture_, spec_.frame->bytes());
    }
    arena_.build();
    input_ = spec_.frame ? static_cast<void*>(picture_) : static_cast<void*>(voltages_);
}

void physedge_net::open_engine(const physedge_bundle& bundle) {
    EngineRequest request;
    request.graph = bundle.contents.at(artefact_.entry);
    request.graph_sha256 = bundle.manifest.entries.at(artefact_.entry).sha256;
    request.bundle_sha256 = bundle.manifest_sha256;
    if (auto recipe = bundle.manifest.entries.find("tensorrt/recipe.json"); recipe != bundle.manifest.entries.end())
        request.recipe_sha256 = recipe->second.sha256;
    request.is_picture = spec_.frame.has_value();
    request.input_shape = spec_.frame ? std::vector<std::int64_t>{1, spec_.frame->height, spec_.frame->width, spec_.frame->channels()}
                          : spec_.voltage_frames == 1 ? std::vector<std::int64_t>{1, spec_.voltages}
                                                      : std::vector<std::int64_t>{1, spec_.voltage_frames, spec_.voltages};
    request.input = input_;
    request.outputs = outputs_;
    request.output_buffers = buffers_;
    request.threads = options_.threads;
    request.cache_folder = options_.cache_folder != nullptr ? options_.cache_folder : "";
    engine_ = find_engine(engine_name_)->make();
    try {
        engine_->open(request);
    } catch (const Refusal&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const CannotAnswer& reason) {
        cannot_answer(engine_name_, bundle.manifest.golden[0].frame, reason.what());
    } catch (const std::exception& reason) {
        refuse(PHYSEDGE_ENVIRONMENT, "PE-ENGINE-002",
               "the engine " + engine_name_ + " cannot open the graph (" + std::string(reason.what()).substr(0, 250) + ")",
               "a graph that this engine runs", "try another engine, or export again for this target");
    }
    fingerprint_ = engine_name_ + " " + engine_->version() + " " + request.graph_sha256.substr(0, 12);
}

// The larger of two errors; a NaN is the largest of all and stays, whatever comes after it.
static double larger(double one, double other) { return std::isnan(one) || other <= one ? one : other; }

void physedge_net::replay_golden(const physedge_bundle& bundle) {
    for (const GoldenCase& golden : bundle.manifest.golden) {
        std::string_view data = bundle.contents.at(golden.frame);
        physedge_frame frame = golden_frame(golden, data, spec_.frame.has_value());
        std::vector<float> voltages(frame.voltage_count);
        if (!voltages.empty()) std::memcpy(voltages.data(), data.data(), voltages.size() * sizeof(float));
        frame.voltages = voltages.data();
        physedge_error error{};
        if (fill_input(frame, picture_, &error) != PHYSEDGE_OK || run_engine(&error) != PHYSEDGE_OK) {
            if (error.status == PHYSEDGE_SAFE_STATE)
                refuse(error.status, error.identifier, error.found, error.expected, error.next_step);
            cannot_answer(fingerprint_, golden.frame, error.found);
        }
        for (const auto& [name, entry] : golden.outputs)
            refuse_constant(output(name), answer(output(name)), bundle.contents.at(entry), golden.frame);
        Distance full = distance(golden.outputs, bundle);
        if (!(full.mean <= artefact_.golden_mean_bound && full.max <= artefact_.golden_max_bound)) {
            char found[200], expected[80];
            std::snprintf(found, sizeof found, "%s answers %s with a mean error of %.3g and a largest of %.3g",
                          fingerprint_.c_str(), golden.frame.c_str(), full.mean, full.max);
            std::snprintf(expected, sizeof expected, "at most %.3g and %.3g", artefact_.golden_mean_bound, artefact_.golden_max_bound);
            refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-020", found, expected,
                   "this machine computes the graph otherwise: try precision fp32, or export it here");
        }
        if (has_own_) {
            Distance own = distance(artefact_.own->answers[golden_frames_], bundle);
            own_mean_error_ = larger(own_mean_error_, own.mean);
            own_max_error_ = larger(own_max_error_, own.max);
        }
        ++golden_frames_;
        golden_mean_error_ = std::max(golden_mean_error_, full.mean);
        golden_max_error_ = std::max(golden_max_error_, full.max);
    }
    if (options_.only_as_exported != 0) refuse_other_computation();
}

const Output& physedge_net::output(const std::string& name) const {
    return *std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& one) { return one.name == name; });
}

physedge_net::Distance physedge_net::distance(const std::vector<std::pair<std::string, std::string>>& wanted,
                                              const physedge_bundle& bundle) const {
    Distance largest;
    for (const auto& [name, entry] : wanted) {
        const Output& of = output(name);
        const float* found = answer(of);
        const char* expected = bundle.contents.at(entry).data();
        double sum = 0;
        for (std::size_t index = 0; index < of.floats(); ++index) {
            float value;
            std::memcpy(&value, expected + index * sizeof value, sizeof value);
            double error = std::fabs(static_cast<double>(found[index]) - value);
            sum += error;
            largest.max = larger(largest.max, error);
        }
        double mean = sum / static_cast<double>(of.floats());
        if (!is_signal(name)) largest.mean = larger(largest.mean, mean);
    }
    return largest;
}

// An engine that fails often answers one value everywhere; for a faint frame no mean error shows that.
void physedge_net::refuse_constant(const Output& output, const float* found, std::string_view wanted, const std::string& frame) const {
    float least_wanted = INFINITY, most_wanted = -INFINITY, least_found = INFINITY, most_found = -INFINITY;
    for (std::size_t index = 0; index < output.floats(); ++index) {
        float expected;
        std::memcpy(&expected, wanted.data() + index * sizeof expected, sizeof expected);
        least_wanted = std::min(least_wanted, expected);
        most_wanted = std::max(most_wanted, expected);
        least_found = std::min(least_found, found[index]);
        most_found = std::max(most_found, found[index]);
    }
    if (!(most_wanted - least_wanted > artefact_.golden_max_bound && most_found == least_found)) return;
    char expected[80];
    std::snprintf(expected, sizeof expected, "values that differ by %.3g, as full precision's do", most_wanted - least_wanted);
    refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-022", fingerprint_ + " answers " + frame + " with one and the same " + output.name + " everywhere",
           expected, "this machine computes the graph otherwise: try precision fp32, or export it here");
}

int physedge_net::computes_as_exported() const {
    if (golden_frames_ == 0) return -1;
    if (is_full_precision_) return 1;  // the bounds of its golden frames are those of float rounding
    if (!has_own_) return -1;
    return own_mean_error_ <= artefact_.own->mean_bound && own_max_error_ <= artefact_.own->max_bound ? 1 : 0;
}

void physedge_net::refuse_other_computation() const {
    int known = computes_as_exported();
    if (known == 1) return;
    char found[320], expected[80] = "the answers of this graph and engine at export";
    if (known < 0) {
        std::snprintf(found, sizeof found, "the bundle does not say what %s answers on %s", artefact_.entry.c_str(), engine_name_.c_str());
    } else {
        std::snprintf(found, sizeof found, "%s computes otherwise than %.160s: by %.3g in the mean and %.3g at most", fingerprint_.c_str(),
                      artefact_.own->computed_by.c_str(), own_mean_error_, own_max_error_);
        std::snprintf(expected, sizeof expected, "at most %.3g and %.3g", artefact_.own->mean_bound, artefact_.own->max_bound);
    }
    refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-020", found, expected, "judge it here: physedge verify --data DIR");
}

std::size_t physedge_net::mask_points() const {
    const Output& answer = outputs_[answer_];
    return spec_.task == PHYSEDGE_SEGMENTATION ? answer.floats() / static_cast<std::size_t>(answer.shape[0]) : 0;
}

void physedge_net::describe(physedge_net_info& info) const {
    info = physedge_net_info{};
    info.task = spec_.task;
    info.engine = fingerprint_.c_str();
    info.engine_name = engine_name_.c_str();
    info.graph = artefact_.entry.c_str();
    info.precision = artefact_.precision.c_str();
    info.bundle_trust = bundle_trust_.c_str();
    if (spec_.frame) {
        info.width_px = static_cast<std::uint32_t>(spec_.frame->width);
        info.height_px = static_cast<std::uint32_t>(spec_.frame->height);
        info.channels = static_cast<std::uint32_t>(spec_.frame->channels());
    }
    info.voltages = spec_.voltages;
    info.voltage_frames = spec_.voltages != 0 ? spec_.voltage_frames : 0;
    info.mask_bytes = mask_points();
    info.outputs = outputs_.size();
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        physedge_output_info& output = info.output[index];
        output.name = outputs_[index].name.c_str();
        output.unit = outputs_[index].unit.c_str();
        output.rank = outputs_[index].shape.size();
        std::copy(outputs_[index].shape.begin(), outputs_[index].shape.end(), output.shape);
        output.floats = outputs_[index].floats();
    }
    info.classes = class_names_.size();
    info.class_names = class_names_.data();
    info.arena_bytes = arena_.bytes();
    info.golden_frames = golden_frames_;
    info.golden_mean_error = golden_mean_error_;
    info.golden_max_error = golden_max_error_;
    info.computes_as_exported = computes_as_exported();
    info.own_mean_error = own_mean_error_;
    info.own_max_error = own_max_error_;
    info.load_ms = load_ms_;
    info.golden_ms = golden_ms_;
    info.area_limit = trust_.area_limit();
}

bool physedge_net::feed_watchdog(physedge_stage stage) const {
    return options_.watchdog == nullptr || options_.watchdog(options_.watchdog_context, stage) == 0;
}

physedge_status physedge_net::fill_input(const physedge_frame& frame, std::uint8_t* picture, physedge_error* error) noexcept {
    char found[120];
    if (!spec_.frame) {
        std::size_t wanted = std::size_t{spec_.voltages} * spec_.voltage_frames;
        if (frame.format == PHYSEDGE_VOLTAGES && frame.voltages != nullptr && frame.voltage_count == wanted) {
            std::memcpy(voltages_, frame.voltages, frame.voltage_count * sizeof(float));
            return PHYSEDGE_OK;
        }
        char expected[64];
        std::snprintf(found, sizeof found, "%zu voltages in a frame", frame.format == PHYSEDGE_VOLTAGES ? frame.voltage_count : 0);
        std::snprintf(expected, sizeof expected, spec_.voltage_frames == 1 ? "%u" : "%u and as many of the body at rest before them", spec_.voltages);
        return report(error, PHYSEDGE_USAGE, "PE-FRAME-002", found, expected,
                      "check the protocol of the device against the bundle");
    }
    physedge_status status = check_picture(frame, error);
    if (status != PHYSEDGE_OK) return status;
    if (frame.width_px > options_.largest_width_px || frame.height_px > options_.largest_height_px) {
        char expected[64];
        std::snprintf(found, sizeof found, "a frame of %ux%u pixels", frame.width_px, frame.height_px);
        std::snprintf(expected, sizeof expected, "at most %ux%u", options_.largest_width_px, options_.largest_height_px);
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-007", found, expected,
                      "open the network with larger largest_width_px and largest_height_px");
    }
    preparer_->prepare(frame, picture);
    return PHYSEDGE_OK;
}

physedge_status physedge_net::run_engine(physedge_error* error) noexcept {
    char found[260];
    std::int64_t started_ns = physedge_now_ns();
    bool is_fed = feed_watchdog(PHYSEDGE_STAGE_ENGINE);
    Engine::State state = is_fed ? engine_->start() : Engine::State::done;
    const unsigned hang_ms = options_.hang_ms, slice_ms = std::max(1u, std::min(options_.watchdog_ms, hang_ms));
    bool is_waiting = is_fed && state != Engine::State::failed;
    while (is_waiting) {
        state = engine_->wait(slice_ms);
        if (state != Engine::State::busy) break;
        is_fed = feed_watchdog(PHYSEDGE_STAGE_ENGINE);
        is_waiting = is_fed && ms_between(started_ns, physedge_now_ns()) < hang_ms;
    }
    if (is_fed && state == Engine::State::done) return PHYSEDGE_OK;
    if (is_fed && state == Engine::State::failed) {
        std::snprintf(found, sizeof found, "the engine failed: %.200s", engine_->failure());
        return report(error, PHYSEDGE_ENVIRONMENT, "PE-NATIVE-005", found, "an answer",
                      "try the next frame; three failures in a row end a stream");
    }
    is_dead_ = true;
    std::snprintf(found, sizeof found, is_fed ? "the engine has not come back for %.0f ms" : "the watchdog's hook ended the waiting after %.0f ms",
                  ms_between(started_ns, physedge_now_ns()));
    return report(error, PHYSEDGE_SAFE_STATE, "PE-NATIVE-004", found, "an answer in time",
                  "free the network and open it again, or start the device anew");
}

void physedge_net::judge(physedge_result& result) const noexcept {
    Credibility credibility(trust_);
    for (std::size_t index = 0; index < outputs_.size(); ++index)
        if (is_signal(outputs_[index].name)) credibility.add_output(outputs_[index].name.c_str(), buffers_[index], outputs_[index].floats());
    if (trust_.has_input) {
        Statistic statistics[most_statistics];
        std::size_t count = spec_.frame ? picture_statistics(picture_, *spec_.frame, statistics)
                                        : voltage_statistics(voltages_, std::size_t{spec_.voltages} * spec_.voltage_frames, statistics);
        credibility.add_input(statistics, count);
    }
    credibility.decide(result);
}

physedge_status physedge_net::decode(physedge_result& result, physedge_error* error) const noexcept {
    result.finite = 1;
    result.foreground_points = 0;
    judge(result);
    bool is_not_finite = false;  // whatever else was said
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
        std::size_t floats = outputs_[index].floats();
        const float* values = buffers_[index];
        // The exponent of what is no number is all ones; a sum of such flags needs no branch a value.
        std::uint32_t odd = 0;
        for (std::size_t value = 0; value < floats; ++value) {
            std::uint32_t bits;
            std::memcpy(&bits, values + value, sizeof bits);
            odd |= (bits & 0x7F800000u) == 0x7F800000u;
        }
        if (odd != 0 && index == answer_) result.finite = 0;
        if (odd != 0 && !is_not_finite) {
            is_not_finite = true;
            result.trust = PHYSEDGE_TRUST_VOID;
            std::snprintf(result.trust_reason, sizeof result.trust_reason, "%.40s is not finite", outputs_[index].name.c_str());
        }
        if (result.output[index] == nullptr) continue;
        if (result.output_floats[index] < floats)
            return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "too little room for an output",
                          "physedge_output_info.floats", "correct output_floats and the memory");
        std::memcpy(result.output[index], values, floats * sizeof(float));
    }
    const Output& answer = outputs_[answer_];
    const float* values = buffers_[answer_];
    if (spec_.task == PHYSEDGE_CLASSIFICATION)
        result.label = static_cast<std::uint32_t>(std::max_element(values, values + answer.floats()) - values);
    if (spec_.task != PHYSEDGE_SEGMENTATION || result.mask == nullptr) return PHYSEDGE_OK;
    std::size_t planes = static_cast<std::size_t>(answer.shape[0]), points = answer.floats() / planes;
    if (result.mask_bytes < points)
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "too little room for the mask", "physedge_net_info.mask_bytes",
                      "correct mask_bytes and the memory");
    threshold(values, planes, points, result);
    return PHYSEDGE_OK;
}

bool physedge_net::has_answer(const physedge_result& result) const noexcept {
    const Output& answer = outputs_[answer_];
    return result.output[answer_] != nullptr && result.output_floats[answer_] >= answer.floats() &&
           static_cast<std::size_t>(answer.shape[0]) <= FrameMask::most_planes;
}

FrameMask physedge_net::frame_mask(const physedge_result& result, const Geometry& way) const noexcept {
    const Output& answer = outputs_[answer_];
    const auto planes = static_cast<std::size_t>(answer.shape[0]);
    return {result.output[answer_], planes, answer.floats() / planes, static_cast<float>(spec_.threshold), spec_.frame->width, way};
}

void physedge_net::threshold(const float* values, std::size_t planes, std::size_t points, physedge_result& result) const noexcept {
    std::uint64_t foreground = 0;
    const auto least = static_cast<float>(spec_.threshold);
    if (planes == 1)
        for (std::size_t point = 0; point < points; ++point) {
            result.mask[point] = values[point] >= least;
            foreground += result.mask[point];
        }
    else
        for (std::size_t point = 0; point < points; ++point) {
            std::size_t best = 0;
            for (std::size_t plane = 1; plane < planes; ++plane)
                if (values[plane * points + point] > values[best * points + point]) best = plane;
            result.mask[point] = static_cast<std::uint8_t>(best);
            foreground += best != 0;
        }
    result.foreground_points = foreground;
}

physedge_status physedge_net::infer(const physedge_frame& frame, physedge_result& result, physedge_error* error) noexcept {
    Use use(is_in_use_);
    if (!use.is_mine()) return in_use(error);
    if (is_dead_)
        return report(error, PHYSEDGE_SAFE_STATE, "PE-NATIVE-004", "the engine had not come back earlier", "an engine that answers",
                      "free the network and open it again, or start the device anew");
    std::int64_t started_ns = physedge_now_ns();
    feed_watchdog(PHYSEDGE_STAGE_PREPROCESS);
    physedge_status status = fill_input(frame, picture_, error);
    if (status != PHYSEDGE_OK) return status;
    std::int64_t prepared_ns = physedge_now_ns();
    status = run_engine(error);
    if (status != PHYSEDGE_OK) return status;
    std::int64_t inferred_ns = physedge_now_ns();
    status = decode(result, error);
    if (status != PHYSEDGE_OK) return status;
    std::int64_t done_ns = physedge_now_ns();
    result.frame_id = frame.frame_id;
    result.captured_ns = frame.captured_ns;
    result.frame_width_px = frame.width_px;
    result.frame_height_px = frame.height_px;
    result.age_ms = ms_between(frame.captured_ns, done_ns);
    result.stages = {ms_between(frame.captured_ns, started_ns), ms_between(started_ns, prepared_ns),
                     ms_between(prepared_ns, inferred_ns), ms_between(inferred_ns, done_ns)};
    feed_watchdog(PHYSEDGE_STAGE_DONE);
    return PHYSEDGE_OK;
}

physedge_status physedge_net::prepare(const physedge_frame& frame, std::uint8_t* grid, std::size_t grid_bytes, physedge_error* error) noexcept {
    Use use(is_in_use_);
    if (!use.is_mine()) return in_use(error);
    if (!spec_.frame || grid_bytes < spec_.frame->bytes())
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "no room for the picture, or a network of voltages",
                      "height_px * width_px * channels bytes", "correct the call");
    return fill_input(frame, grid, error);
}
