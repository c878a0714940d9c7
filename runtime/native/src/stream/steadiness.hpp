// Does the mask's area agree with those just before it? As physedge_runtime/stream/steadiness.py has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "physedge.h"
#include "stream/events.hpp"
#include "stream/time.hpp"

namespace physedge {

// Above it the answer is doubtful where the manifest says nothing else: a change of the area by a factor of five.
inline constexpr double usual_area_limit = 0.8;

// Holds each mask's area against the running median of the last answers, at most 15 and 2 seconds old.
class AreaWatch {
public:
    // |area - median| / the larger of both, 0 to 1; nothing without five answers to compare with.
    std::optional<double> judge(const physedge_answer& answer, std::int64_t captured_ns) noexcept;

private:
    static constexpr std::size_t most = 15, fewest = 5;
    static constexpr std::int64_t window_ns = 2 * ns_per_s;
    static constexpr double small_share = 0.005;  // of the picture: a region of a few pixels may come and go
    struct Seen {
        std::int64_t captured_ns;
        double area;
    };
    Ring<Seen, most> seen_;
};

}  // namespace physedge
