// The border: what firmware calls. No exception passes it.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "handle.hpp"
#include "net.hpp"
#include "refusal.hpp"

using namespace physedge;

namespace {

physedge_status missing(physedge_error* error) {
    return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "NULL for an argument that is needed", "a value", "correct the call");
}

// How many pixels of each row and column carry a class, in one pass and without memory.
struct Extent {
    std::uint64_t count = 0;
    double row_sum = 0, column_sum = 0;
    int top = -1, bottom = -1, left = -1, right = -1;
};

Extent extent_of(const std::uint8_t* mask, const Geometry& way, int grid_width, std::uint32_t label) {
    Extent extent;
    for (int row = 0; row < way.grid_height; ++row) {
        const std::uint8_t* values = mask + (way.grid_top + row) * grid_width + way.grid_left;
        for (int column = 0; column < way.grid_width; ++column) {
            if (values[column] != label) continue;
            ++extent.count;
            extent.row_sum += row + 0.5;
            extent.column_sum += column + 0.5;
            if (extent.top < 0) extent.top = row;
            extent.bottom = row;
            extent.left = extent.left < 0 ? column : std::min(extent.left, column);
            extent.right = std::max(extent.right, column);
        }
    }
    return extent;
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

physedge_status physedge_net_region(const physedge_net* net, const physedge_result* result, uint32_t class_index,
                                    physedge_region* region, physedge_error* error) {
    if (net == nullptr || result == nullptr || region == nullptr || result->mask == nullptr || result->frame_width_px == 0 ||
        result->frame_height_px == 0)
        return missing(error);
    Inside<physedge_net> inside(net);
    if (!inside) return inside.refusal(error);
    if (!inside->spec().frame) return missing(error);
    if (result->mask_bytes < inside->mask_points() || result->frame_width_px > 32768 || result->frame_height_px > 32768)
        return report(error, PHYSEDGE_USAGE, "PE-NATIVE-001", "a result whose mask or frame has not the size that an answer has",
                      "the result as physedge_net_infer filled it in", "correct the call");
    const FrameSpec& spec = *inside->spec().frame;
    Geometry way = geometry(spec, static_cast<int>(result->frame_height_px), static_cast<int>(result->frame_width_px));
    Extent extent = extent_of(result->mask, way, spec.width, class_index);
    *region = physedge_region{};
    region->is_empty = extent.count == 0;
    if (extent.count == 0) return PHYSEDGE_OK;
    double scale_y = static_cast<double>(way.bottom - way.top) / way.grid_height;
    double scale_x = static_cast<double>(way.right - way.left) / way.grid_width;
    double count = static_cast<double>(extent.count);
    region->area_fraction = count / (static_cast<double>(way.grid_height) * way.grid_width);
    region->centroid_x_px = way.left + extent.column_sum / count * scale_x;
    region->centroid_y_px = way.top + extent.row_sum / count * scale_y;
    region->left_px = way.left + static_cast<int32_t>(extent.left * scale_x);
    region->top_px = way.top + static_cast<int32_t>(extent.top * scale_y);
    region->right_px = way.left + static_cast<int32_t>(std::nearbyint((extent.right + 1) * scale_x));
    region->bottom_px = way.top + static_cast<int32_t>(std::nearbyint((extent.bottom + 1) * scale_y));
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
