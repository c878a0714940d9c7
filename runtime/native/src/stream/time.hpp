// Differences of times: whatever stamps come in, no overflow is undefined.
#pragma once

#include <cstdint>

namespace physedge {

inline constexpr std::int64_t ns_per_ms = 1000000, ns_per_s = 1000000000;

inline std::int64_t elapsed_ns(std::int64_t from_ns, std::int64_t to_ns) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(to_ns) - static_cast<std::uint64_t>(from_ns));
}

inline double ms_from_ns(std::int64_t time_ns) { return static_cast<double>(time_ns) / static_cast<double>(ns_per_ms); }

}  // namespace physedge
