// The border: what firmware calls. No exception passes it.
#include <time.h>

#include <algorithm>
#include <memory>
#include <string>

#include "frame_mask.hpp"
#include "handle.hpp"
#include "net.hpp"
#include "refusal.hpp"

using namespace physedge;

namespace {

physedge_status missing(physedge_error* error) {
    return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "NULL for an argument that is needed", "a value", "correct the call");
}

// Where a class lies in a frame, in one pass and without memory.
struct Extent {
    std::uint64_t count = 0;
    double row_sum = 0, column_sum = 0;
    int top = -1, bottom = -1, left = -1, right = -1;
};

Extent extent_of(const FrameMask& mask, const Geometry& way, int label) {
    Extent extent;
    for (int row = 0; row < way.bottom - way.top; ++row)
        mask.row(row, [&](int first, int behind, int found) {
            if (found != label) return;
            const double count = behind - first;
            extent.count += static_cast<std::uint64_t>(behind - first);
            extent.row_sum += (row + 0.5) * count;
            extent.column_sum += (first + behind) * 0.5 * count;
            if (extent.top < 0) extent.top = row;
            extent.bottom = row;
            extent.left = extent.left < 0 ? first : std::min(extent.left, first);
            extent.right = std::max(extent.right, behind - 1);
        });
    return extent;
}

// The way from the frame of a result to the grid; refuses a result that physedge_net_infer did not fill in.
physedge_status way_of(const physedge_net& net, const physedge_result& result, Geometry& way, physedge_error* error) {
    if (!net.spec().frame || net.mask_points() == 0 || result.frame_width_px == 0 || result.frame_height_px == 0) return missing(error);
    if (!net.has_answer(result) || result.frame_width_px > 32768 || result.frame_height_px > 32768)
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "a result without the memory of its probability, or whose frame has no size",
                      "the result as physedge_net_infer filled it in", "give output and output_floats for the output probability");
    way = geometry(*net.spec().frame, static_cast<int>(result.frame_height_px), static_cast<int>(result.frame_width_px));
    return PHYSEDGE_OK;
}

}  // namespace

extern "C" {

uint32_t physedge_abi_version(void) { return PHYSEDGE_ABI_VERSION; }

const char* physedge_version(void) { return PHYSEDGE_VERSION; }

const char* physedge_engines(void) {
    static const std::string names = [] {
        std::string text;
        for (const EngineEntry* entry = engine_table(); entry->name != nullptr; ++entry)
            text += (text.empty() ? "" : " ") + std::string(entry->name);
        return text;
    }();
    return names.c_str();
}

int64_t physedge_now_ns(void) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

physedge_open_options physedge_open_defaults(void) {
    physedge_open_options options{};
    options.engine = "auto";
    options.largest_width_px = 1920;
    options.largest_height_px = 1088;
    options.hang_ms = 5000;
    options.watchdog_ms = 100;
    return options;
}

physedge_status physedge_net_open(const physedge_bundle* bundle, const physedge_open_options* options, physedge_net** net,
                                  physedge_error* error) {
    if (bundle == nullptr || options == nullptr || net == nullptr) return missing(error);
    Inside<physedge_bundle> opened(bundle);
    if (!opened) return opened.refusal(error);
    return guarded(error, [&] { *net = handed_out(std::make_unique<physedge_net>(*opened, *options)); });
}

void physedge_net_describe(const physedge_net* net, physedge_net_info* info) {
    if (info == nullptr) return;
    if (Inside<physedge_net> inside(net); inside)
        inside->describe(*info);
    else
        *info = physedge_net_info{};
}

void physedge_net_free(physedge_net* net) { give_back(net); }

physedge_status physedge_net_infer(physedge_net* net, const physedge_frame* frame, physedge_result* result, physedge_error* error) {
    if (net == nullptr || frame == nullptr || result == nullptr) return missing(error);
    Inside<physedge_net> inside(net);
    return inside ? inside->infer(*frame, *result, error) : inside.refusal(error);
}

physedge_status physedge_net_prepare(physedge_net* net, const physedge_frame* frame, uint8_t* grid, size_t grid_bytes,
                                     physedge_error* error) {
    if (net == nullptr || frame == nullptr || grid == nullptr) return missing(error);
    Inside<physedge_net> inside(net);
    return inside ? inside->prepare(*frame, grid, grid_bytes, error) : inside.refusal(error);
}

physedge_status physedge_net_to_frame(const physedge_net* net, const uint8_t* mask, uint32_t width_px, uint32_t height_px,
                                      uint8_t* labels, size_t stride_bytes, physedge_error* error) {
    if (net == nullptr || mask == nullptr || labels == nullptr) return missing(error);
    Inside<physedge_net> inside(net);
    if (!inside) return inside.refusal(error);
    if (!inside->spec().frame) return missing(error);
    std::size_t stride = stride_bytes != 0 ? stride_bytes : width_px;
    if (width_px == 0 || height_px == 0 || width_px > 32768 || height_px > 32768 || stride < width_px)
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "a frame without pixels or a stride below its width", "a picture",
                      "correct the call");
    const FrameSpec& spec = *inside->spec().frame;
    Geometry way = geometry(spec, static_cast<int>(height_px), static_cast<int>(width_px));
    for (int row = 0; row < static_cast<int>(height_px); ++row) {
        uint8_t* line = labels + static_cast<std::size_t>(row) * stride;
        std::fill(line, line + width_px, std::uint8_t{0});
        if (row < way.top || row >= way.bottom) continue;
        int grid_row = way.grid_top + nearest(row - way.top, way.grid_height, way.bottom - way.top);
        for (int column = way.left; column < way.right; ++column)
            line[column] = mask[grid_row * spec.width + way.grid_left + nearest(column - way.left, way.grid_width, way.right - way.left)];
    }
    return PHYSEDGE_OK;
}

physedge_status physedge_net_frame_mask(const physedge_net* net, const physedge_result* result, uint8_t* labels,
                                        size_t stride_bytes, physedge_error* error) {
    if (net == nullptr || result == nullptr || labels == nullptr) return missing(error);
    Inside<physedge_net> inside(net);
    if (!inside) return inside.refusal(error);
    Geometry way{};
    if (physedge_status status = way_of(*inside, *result, way, error); status != PHYSEDGE_OK) return status;
    std::size_t stride = stride_bytes != 0 ? stride_bytes : result->frame_width_px;
    if (stride < result->frame_width_px)
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "a stride below the width of the frame", "a picture", "correct the call");
    const FrameMask mask = inside->frame_mask(*result, way);
    for (int row = 0; row < static_cast<int>(result->frame_height_px); ++row) {
        uint8_t* line = labels + static_cast<std::size_t>(row) * stride;
        std::fill(line, line + result->frame_width_px, std::uint8_t{0});
        if (row < way.top || row >= way.bottom) continue;
        mask.row(row - way.top, [&](int first, int behind, int found) {
            std::fill(line + way.left + first, line + way.left + behind, static_cast<std::uint8_t>(found));
        });
    }
    return PHYSEDGE_OK;
}

physedge_status physedge_net_region(const physedge_net* net, const physedge_result* result, uint32_t class_index,
                                    physedge_region* region, physedge_error* error) {
    if (net == nullptr || result == nullptr || region == nullptr) return missing(error);
    Inside<physedge_net> inside(net);
    if (!inside) return inside.refusal(error);
    Geometry way{};
    if (physedge_status status = way_of(*inside, *result, way, error); status != PHYSEDGE_OK) return status;
    *region = physedge_region{};
    region->is_empty = 1;
    if (class_index >= FrameMask::most_planes) return PHYSEDGE_OK;
    Extent extent = extent_of(inside->frame_mask(*result, way), way, static_cast<int>(class_index));
    region->is_empty = extent.count == 0;
    if (extent.count == 0) return PHYSEDGE_OK;
    double count = static_cast<double>(extent.count);
    region->area_fraction = count / (static_cast<double>(way.bottom - way.top) * (way.right - way.left));
    region->centroid_x_px = way.left + extent.column_sum / count;
    region->centroid_y_px = way.top + extent.row_sum / count;
    region->left_px = way.left + extent.left;
    region->top_px = way.top + extent.top;
    region->right_px = way.left + extent.right + 1;
    region->bottom_px = way.top + extent.bottom + 1;
    return PHYSEDGE_OK;
}

physedge_answer physedge_answer_of(const physedge_net* net, physedge_status status, const physedge_result* result,
                                   const physedge_error* error) {
    physedge_answer answer{};
    Inside<physedge_net> inside(net);
    if (status != PHYSEDGE_OK || !inside || result == nullptr) {
        answer.fault = error != nullptr && error->found[0] != '\0' ? error->found : "the engine gave no answer";
        return answer;
    }
    answer.frame_id = result->frame_id;
    answer.finite = result->finite;
    answer.trust = result->trust;
    answer.trust_reason = result->trust_reason;
    answer.mask_points = result->mask != nullptr ? inside->mask_points() : 0;
    answer.foreground_points = result->foreground_points;
    return answer;
}

}  // extern "C"
