// The declaration of a network: what it takes in and what it answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "json.hpp"
#include "physedge.h"

namespace physedge {

enum class Colour { rgb, bgr, grey };

// The part of a frame that is looked at, as fractions of its sides.
struct Crop {
    double left, top, width, height;
};

struct FrameSpec {
    int height = 0;
    int width = 0;
    Colour colour = Colour::rgb;
    bool letterbox = false;
    std::optional<Crop> crop;

    int channels() const { return colour == Colour::grey ? 1 : 3; }
    std::size_t bytes() const {
        return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * static_cast<std::size_t>(channels());
    }
};

struct ModelSpec {
    std::string name;
    std::string version;
    physedge_task task = PHYSEDGE_SEGMENTATION;
    std::string task_name;
    std::vector<std::string> classes;
    double threshold = 0.5;
    std::optional<FrameSpec> frame;
    std::uint32_t voltages = 0;        // in a frame; 0 for pictures
    std::uint32_t voltage_frames = 1;  // 2 where the frame of the body at rest comes first
};

ModelSpec spec_from_json(const Json& spec);

}  // namespace physedge
