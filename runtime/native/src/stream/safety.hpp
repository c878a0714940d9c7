// Which answers may be shown, and when the stream must give up answering; as physedge_runtime/stream/safety.py has it.
#pragma once

#include <cstdint>

#include "physedge.h"
#include "stream/health.hpp"

namespace physedge {

// Why an answer is withdrawn, and the same as a sentence; PHYSEDGE_SHOWN where it may be shown.
struct Verdict {
    physedge_withdrawal withdrawn = PHYSEDGE_SHOWN;
    char text[560] = "";
};

class Safety {
public:
    explicit Safety(const physedge_stream_options& limits) : limits_(limits) { safe_reason[0] = '\0'; }

    Reason safe_reason;  // why the stream must not answer any more; empty as long as it may

    bool is_safe_state() const { return safe_reason[0] != '\0'; }
    Verdict judge(const physedge_answer& answer, std::uint64_t frame_id, std::int64_t age_ns);
    bool is_too_old(std::int64_t age_ns) const { return limits_.max_age_ns >= 0 && age_ns > limits_.max_age_ns; }
    // Whether the frame in work can no longer be answered in time, so that pictures go out without it.
    bool is_overdue(std::int64_t age_ns) const;
    void watch_engine(std::int64_t busy_ns);
    // Give up answering; the first reason stays.
    void fail(const char* reason);

private:
    physedge_stream_options limits_;
    std::uint64_t misses_ = 0, errors_ = 0, not_finite_ = 0;

    void count_error(const physedge_answer& answer);
    void miss();
};

}  // namespace physedge
