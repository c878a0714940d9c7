#include "credibility.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "stream/steadiness.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr int sample_step = 4, row_step = 8, dark_below = 16, bright_above = 250, most_shown_reasons = 3;
constexpr double silence = 1e-12;

std::optional<double> limit_from(const Json& json, const char* name) {
    const Json& value = json.at(name);
    if (value.is(Json::Kind::null)) return std::nullopt;
    return value.number();
}

}  // namespace

TrustRecord trust_record_from_json(const Json& json) {
    TrustRecord record;
    for (const auto& [name, signal] : json.at("signals").members)
        record.signals.push_back({name, signal.at("reason").text, signal.at("each").text, limit_from(signal, "doubtful_above"),
                                  limit_from(signal, "void_above")});
    const Json& input = json.at("input");
    if (!input.is(Json::Kind::object)) return record;
    record.has_input = true;
    for (const auto& [name, middle] : input.at("middle").members)
        if (const Json* spread = input.at("spread").find(name)) record.input.push_back({name, middle.number(), spread->number()});
    return record;
}

const SignalLimits* TrustRecord::find(std::string_view name) const noexcept {
    for (const SignalLimits& limits : signals)
        if (limits.name == name) return &limits;
    return nullptr;
}

double TrustRecord::area_limit() const noexcept {
    const SignalLimits* limits = find("area");
    return limits != nullptr && limits->doubtful_above ? *limits->doubtful_above : usual_area_limit;
}

std::size_t picture_statistics(const std::uint8_t* pixels, const FrameSpec& spec, Statistic (&found)[most_statistics]) noexcept {
    const int channels = spec.channels();
    const std::ptrdiff_t row_bytes = static_cast<std::ptrdiff_t>(spec.width) * channels;
    double sums[3] = {0, 0, 0};
    std::uint64_t dark = 0, bright = 0, count = 0, total = 0, squares = 0;
    for (int row = 0; row < spec.height; row += sample_step)
        for (int column = 0; column < spec.width; column += sample_step, ++count) {
            const std::uint8_t* pixel = pixels + row * row_bytes + column * channels;
            std::uint64_t luminance = 0;
            int brightest = 0;
            for (int channel = 0; channel < channels; ++channel) {
                sums[channel] += pixel[channel];
                luminance += pixel[channel];
                brightest = std::max<int>(brightest, pixel[channel]);
            }
            total += luminance;
            squares += luminance * luminance;
            dark += luminance < static_cast<std::uint64_t>(dark_below * channels);
            bright += brightest > bright_above;
        }
    double size = static_cast<double>(count), mean = static_cast<double>(total) / size;
    // In whole numbers up to here, so that the difference of two large sums loses nothing.
    double variance = static_cast<double>(count * squares - total * total) / size / size;
    double contrast = std::sqrt(variance) / channels;
    std::uint64_t steps = 0, pairs = 0;
    for (int row = 0; row < spec.height; row += row_step) {
        const std::uint8_t* line = pixels + row * row_bytes + channels / 2;
        for (int column = 1; column < spec.width; ++column, ++pairs)
            steps += static_cast<std::uint64_t>(std::abs(line[column * channels] - line[(column - 1) * channels]));
    }
    double step = static_cast<double>(steps) / static_cast<double>(pairs);
    double red = 1.0 / 3, blue = 1.0 / 3, all = sums[0] + sums[1] + sums[2];
    if (spec.colour != Colour::grey && all > 0) {
        red = sums[spec.colour == Colour::rgb ? 0 : 2] / all;
        blue = sums[spec.colour == Colour::rgb ? 2 : 0] / all;
    }
    const Statistic statistics[most_statistics] = {
        {"brightness", mean / channels / 255},
        {"contrast", contrast / 255},
        {"dark share", static_cast<double>(dark) / size},
        {"bright share", static_cast<double>(bright) / size},
        {"red share", red},
        {"blue share", blue},
        {"sharpness", contrast > 0 ? std::min(1.0, step / contrast) : 0.0},
    };
    std::copy(std::begin(statistics), std::end(statistics), found);
    return most_statistics;
}

std::size_t voltage_statistics(const float* voltages, std::size_t count, Statistic (&found)[most_statistics]) noexcept {
    double squares = 0, sum = 0, peak = 0;
    for (std::size_t index = 0; index < count; ++index) {
        double value = voltages[index];
        squares += value * value;
        sum += value;
        peak = std::max(peak, std::fabs(value));
    }
    double level = std::max(std::sqrt(squares / static_cast<double>(count)), silence);
    found[0] = {"level", std::log10(level)};
    found[1] = {"offset", sum / static_cast<double>(count) / level};
    found[2] = {"peak", peak / level};
    return 3;
}

void Credibility::add_output(const char* name, const float* values, std::size_t count) noexcept {
    Signal& signal = signals_[count_++];
    signal.name = name + 6;  // after "trust_"
    std::size_t largest = static_cast<std::size_t>(std::max_element(values, values + count) - values);
    signal.value = values[largest];
    signal.detail[0] = '\0';
    if (count == 1) return;
    const SignalLimits* limits = record_.find(signal.name);
    const char* each = limits != nullptr && !limits->each.empty() ? limits->each.c_str() : "value";
    std::snprintf(signal.detail, sizeof signal.detail, "%.40s %zu: ", each, largest + 1);
}

void Credibility::add_input(const Statistic* statistics, std::size_t count) noexcept {
    const Statistic* farthest = nullptr;
    double largest = 0;
    for (const Statistic* one = statistics; one != statistics + count; ++one)
        for (const Usual& usual : record_.input) {
            if (usual.name != one->name) continue;
            double distance = std::fabs(one->value - usual.middle) / usual.spread;
            if (farthest == nullptr || distance > largest) {
                farthest = one;
                largest = distance;
            }
        }
    if (farthest == nullptr) return;
    Signal& signal = signals_[count_++];
    signal.name = "input";
    signal.value = largest;
    std::snprintf(signal.detail, sizeof signal.detail, "%s: ", farthest->name);
}

void Credibility::decide(physedge_result& result) const noexcept {
    result.trust = PHYSEDGE_TRUST_OK;
    result.trust_reason[0] = '\0';
    result.signals = count_;
    for (std::size_t index = 0; index < count_; ++index) result.signal[index] = {signals_[index].name, signals_[index].value};
    int shown = 0;
    std::size_t used = 0;
    for (physedge_trust_state state : {PHYSEDGE_TRUST_VOID, PHYSEDGE_TRUST_DOUBTFUL}) {
        for (std::size_t index = 0; index < count_; ++index) {
            const Signal& signal = signals_[index];
            const SignalLimits* limits = record_.find(signal.name);
            if (limits == nullptr) continue;
            bool is_void = limits->void_above && !(signal.value <= *limits->void_above);  // so that a NaN fails
            bool is_doubtful = !is_void && limits->doubtful_above && !(signal.value <= *limits->doubtful_above);
            if (state == PHYSEDGE_TRUST_VOID ? !is_void : !is_doubtful) continue;
            result.trust = state;
            if (++shown > most_shown_reasons || used >= sizeof result.trust_reason) continue;
            char words[128];
            copy_text(words, limits->reason.empty() ? limits->name : limits->reason);
            if (limits->reason.empty()) std::replace(words, words + std::strlen(words), '_', ' ');
            int written = std::snprintf(result.trust_reason + used, sizeof result.trust_reason - used, "%s%s%s (%s %.3g above %.3g)",
                                        shown > 1 ? "; " : "", signal.detail, words, signal.name, signal.value,
                                        is_void ? *limits->void_above : *limits->doubtful_above);
            used += static_cast<std::size_t>(std::max(written, 0));
        }
        if (shown > 0) return;  // what is void needs no doubts beside it
    }
}

}  // namespace physedge
