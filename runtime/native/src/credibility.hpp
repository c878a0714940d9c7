// How far one answer may be believed: the network's own signals and the look of its input, against the limits of the
// manifest; as physedge_runtime/trust.py and input_statistics.py have it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "physedge.h"
#include "spec.hpp"

namespace physedge {

struct SignalLimits {
    std::string name;
    std::string reason;
    std::string each;
    std::optional<double> doubtful_above, void_above;
};

// What an input usually looks like, statistic by statistic.
struct Usual {
    std::string name;
    double middle;
    double spread;
};

struct TrustRecord {
    std::vector<SignalLimits> signals;
    std::vector<Usual> input;
    bool has_input = false;

    const SignalLimits* find(std::string_view name) const noexcept;
    // Of the signal `area`, which a stream computes.
    double area_limit() const noexcept;
};

TrustRecord trust_record_from_json(const Json& json);

// Whether an output of a graph is a trust signal rather than an answer.
inline bool is_signal(std::string_view output) { return output.substr(0, 6) == "trust_"; }

struct Statistic {
    const char* name;
    double value;
};

inline constexpr std::size_t most_statistics = 7;

// Of a picture on the network's grid, uint8 (height, width, channel). Returns how many.
std::size_t picture_statistics(const std::uint8_t* pixels, const FrameSpec& spec, Statistic (&found)[most_statistics]) noexcept;
std::size_t voltage_statistics(const float* voltages, std::size_t count, Statistic (&found)[most_statistics]) noexcept;

// Collects the signals of one answer and decides. No memory of the heap is taken.
class Credibility {
public:
    explicit Credibility(const TrustRecord& record) : record_(record) {}

    // A signal that the graph gives; of several values the largest counts.
    void add_output(const char* name, const float* values, std::size_t count) noexcept;
    // How unlike the usual the input is; nothing where the manifest does not say what is usual.
    void add_input(const Statistic* statistics, std::size_t count) noexcept;
    // Decide, and write state, reason and signals.
    void decide(physedge_result& result) const noexcept;

private:
    struct Signal {
        const char* name;
        double value;
        char detail[72];
    };

    const TrustRecord& record_;
    Signal signals_[PHYSEDGE_MOST_OUTPUTS + 1];
    std::size_t count_ = 0;
};

}  // namespace physedge
