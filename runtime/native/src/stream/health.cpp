#include "stream/health.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "stream/time.hpp"
#include "text.hpp"

namespace physedge {

namespace {

constexpr std::int64_t late_repeat_ns = 20 * ns_per_ms;
constexpr char frozen[] = "the same picture again and again";

std::int64_t rounded(double value) {
    constexpr double most = 9e18;
    return static_cast<std::int64_t>(std::nearbyint(std::clamp(value, -most, most)));
}

bool is_picture_fault(physedge_signal signal) {
    return signal == PHYSEDGE_FROZEN || signal == PHYSEDGE_BLACK || signal == PHYSEDGE_SATURATED;
}

void keep_since(std::optional<std::int64_t>& since_ns, bool is_so, std::int64_t now_ns) {
    if (!is_so)
        since_ns.reset();
    else if (!since_ns)
        since_ns = now_ns;
}

}  // namespace

Health::Health(const physedge_stream_options& limits) : limits_(limits) { copy_text(reason, "waiting for the first frame"); }

bool Health::answerable() const {
    return fit_ && (signal == PHYSEDGE_LIVE || (signal == PHYSEDGE_FROZEN && operator_freeze_));
}

std::optional<std::int64_t> Health::period_ns() const {
    if (intervals_ < enough_intervals) return std::nullopt;
    std::int64_t sorted[most_intervals];
    std::copy(intervals_ns_, intervals_ns_ + intervals_, sorted);
    std::nth_element(sorted, sorted + intervals_ / 2, sorted + intervals_);
    return sorted[intervals_ / 2];
}

void Health::frame(std::int64_t now_ns, const physedge_look& look, bool frozen_by_operator) {
    if (last_ns_) {
        now_ns = std::max(now_ns, *last_ns_);
        if (signal != PHYSEDGE_LOST) {
            intervals_ns_[oldest_] = elapsed_ns(*last_ns_, now_ns);
            oldest_ = (oldest_ + 1) % most_intervals;
            intervals_ = std::min(intervals_ + 1, most_intervals);
        }
    }
    last_ns_ = now_ns;
    bool new_format = has_last_ && std::strncmp(look.format, last_.format, sizeof look.format) != 0;
    bool is_repeat = notice_repeat(now_ns, look);
    keep_since(dark_since_ns_, look.dark_share >= limits_.dark_share, now_ns);
    keep_since(bright_since_ns_, look.bright_share >= limits_.bright_share, now_ns);
    last_ = look;
    has_last_ = true;
    operator_freeze_ = frozen_by_operator;
    fit_ = !dark_since_ns_ && !bright_since_ns_;
    if (enter_fault(now_ns)) return;
    if (new_format && limits_.frame_clock != 0) {
        Reason why;
        std::snprintf(why, sizeof why, "the picture changed to %.*s", static_cast<int>(sizeof look.format), look.format);
        enter(PHYSEDGE_RECOVERING, why);
    } else if (fit_) {
        good_frame(is_repeat);
    } else {
        good_frames_ = 0;
    }
}

void Health::tick(std::int64_t now_ns) {
    if (limits_.frame_clock == 0 || signal == PHYSEDGE_LOST) return;
    if (!start_ns_) start_ns_ = now_ns;
    if (!last_ns_) {
        if (elapsed_ns(*start_ns_, now_ns) > limits_.first_frame_ns) enter(PHYSEDGE_LOST, "the first frame never came");
        return;
    }
    std::int64_t silence_ns = elapsed_ns(*last_ns_, now_ns);
    if (operator_freeze_ && signal == PHYSEDGE_FROZEN) return;  // some scanners send nothing while they are frozen
    Reason why;
    std::snprintf(why, sizeof why, "no frame for %lld ms", static_cast<long long>(silence_ns / ns_per_ms));
    if (silence_ns > limit_ns(limits_.lost_periods, limits_.lost_floor_ns, limits_.lost_cap_ns))
        enter(PHYSEDGE_LOST, why);
    else if (silence_ns > limit_ns(limits_.stale_periods, limits_.stale_floor_ns, limits_.stale_cap_ns) && signal == PHYSEDGE_LIVE)
        enter(PHYSEDGE_STALE, why);
    else if (signal == PHYSEDGE_LIVE && is_frozen(elapsed_ns(late_repeat_ns, now_ns)))
        enter(PHYSEDGE_FROZEN, frozen);  // the repeat that would tell is late itself
}

void Health::lost(const char* why) {
    operator_freeze_ = false;
    enter(PHYSEDGE_LOST, why);
}

std::int64_t Health::limit_ns(double periods, std::int64_t floor_ns, std::int64_t cap_ns) const {
    cap_ns = std::max(cap_ns, rounded(periods * static_cast<double>(limits_.period_ns)));
    std::optional<std::int64_t> measured_ns = period_ns();
    if (!measured_ns) return cap_ns;
    return std::min(std::max(rounded(periods * static_cast<double>(*measured_ns)), floor_ns), cap_ns);
}

bool Health::notice_repeat(std::int64_t now_ns, const physedge_look& look) {
    if (has_last_ && look.checksum == last_.checksum && std::strncmp(look.format, last_.format, sizeof look.format) == 0) {
        ++repeats_;
        return true;
    }
    repeats_ = 0;
    same_since_ns_ = now_ns;
    return false;
}

bool Health::is_frozen(std::int64_t now_ns) const {
    bool is_same = repeats_ >= limits_.frozen_repeats && elapsed_ns(same_since_ns_, now_ns) >= limits_.frozen_ns;
    return limits_.frame_clock != 0 && is_same && fit_;
}

bool Health::enter_fault(std::int64_t now_ns) {
    if (operator_freeze_)
        enter(PHYSEDGE_FROZEN, "frozen by the operator");
    else if (dark_since_ns_ && elapsed_ns(*dark_since_ns_, now_ns) >= limits_.unfit_ns)
        enter(PHYSEDGE_BLACK, "the picture is black");
    else if (bright_since_ns_ && elapsed_ns(*bright_since_ns_, now_ns) >= limits_.unfit_ns)
        enter(PHYSEDGE_SATURATED, "the picture is white");
    else if (is_frozen(now_ns))
        enter(PHYSEDGE_FROZEN, frozen);
    else
        return false;
    return true;
}

void Health::good_frame(bool is_repeat) {
    if (signal == PHYSEDGE_LIVE) return;
    if (signal == PHYSEDGE_STALE) return enter(PHYSEDGE_LIVE, "");
    if (signal != PHYSEDGE_RECOVERING) enter(PHYSEDGE_RECOVERING, "the picture is back, good frames are counted");
    good_frames_ += !is_repeat;
    if (good_frames_ >= limits_.good_frames) enter(PHYSEDGE_LIVE, "");
}

void Health::enter(physedge_signal entered, const char* why) {
    if (entered == PHYSEDGE_RECOVERING || is_picture_fault(entered)) good_frames_ = 0;
    if (entered == PHYSEDGE_LOST) intervals_ = oldest_ = 0;  // it may come back at another rate
    signal = entered;
    copy_text(reason, why);
}

}  // namespace physedge
