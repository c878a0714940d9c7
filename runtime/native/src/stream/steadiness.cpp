#include "stream/steadiness.hpp"

#include <algorithm>
#include <cmath>

namespace physedge {

std::optional<double> AreaWatch::judge(const physedge_answer& answer, std::int64_t captured_ns) noexcept {
    if (answer.mask_points == 0) return std::nullopt;
    double area = static_cast<double>(answer.foreground_points) / static_cast<double>(answer.mask_points);
    while (!seen_.is_empty() && elapsed_ns(seen_.front().captured_ns, captured_ns) > window_ns) seen_.pop();
    double areas[most];
    const std::size_t count = seen_.size();
    for (std::size_t index = 0; index < count; ++index) areas[index] = seen_[index].area;
    seen_.push() = {captured_ns, area};
    if (count < fewest) return std::nullopt;
    std::sort(areas, areas + count);
    double usual = count % 2 == 1 ? areas[count / 2] : (areas[count / 2 - 1] + areas[count / 2]) / 2;
    return std::fabs(area - usual) / std::max({area, usual, small_share});
}

}  // namespace physedge
