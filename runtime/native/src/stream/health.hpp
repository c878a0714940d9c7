// Health of the picture: LIVE STALE FROZEN BLACK SATURATED LOST RECOVERING; as physedge_runtime/stream/health.py has it.
#pragma once

#include <cstdint>
#include <optional>

#include "physedge.h"

namespace physedge {

using Reason = char[200];

class Health {
public:
    explicit Health(const physedge_stream_options& limits);

    physedge_signal signal = PHYSEDGE_RECOVERING;
    Reason reason;

    // Whether the last frame is fit to be answered.
    bool answerable() const;
    void frame(std::int64_t now_ns, const physedge_look& look, bool frozen_by_operator);
    void tick(std::int64_t now_ns);
    void lost(const char* why);

private:
    static constexpr int most_intervals = 15, enough_intervals = 4;

    physedge_stream_options limits_;
    std::int64_t intervals_ns_[most_intervals];
    int intervals_ = 0, oldest_ = 0;
    std::optional<std::int64_t> start_ns_, last_ns_, dark_since_ns_, bright_since_ns_;
    bool has_last_ = false;
    physedge_look last_{};
    std::int64_t same_since_ns_ = 0;
    std::uint64_t repeats_ = 0, good_frames_ = 0;
    bool operator_freeze_ = false, fit_ = false;

    std::optional<std::int64_t> period_ns() const;
    std::int64_t limit_ns(double periods, std::int64_t floor_ns, std::int64_t cap_ns) const;
    bool notice_repeat(std::int64_t now_ns, const physedge_look& look);
    bool is_frozen(std::int64_t now_ns) const;
    bool enter_fault(std::int64_t now_ns);
    void good_frame(bool is_repeat);
    void enter(physedge_signal entered, const char* why);
};

}  // namespace physedge
