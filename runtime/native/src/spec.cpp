#include "spec.hpp"

#include <algorithm>

namespace physedge {

namespace {

constexpr double smallest_side_px = 8, largest_side_px = 4096;

std::string frame_fault(const Json& frame) {
    for (const char* name : {"height", "width"}) {
        double side = frame.at(name).number();
        if (!(side >= smallest_side_px && side <= largest_side_px)) return std::string("spec.frame.") + name + " is out of its range";
    }
    const Json* crop = frame.find("crop");
    if (crop == nullptr || crop->is(Json::Kind::null)) return "";
    double left = crop->at("left").number(), top = crop->at("top").number();
    double width = crop->at("width").number(), height = crop->at("height").number();
    bool inside = 0 <= left && 0 < width && left + width <= 1 && 0 <= top && 0 < height && top + height <= 1;
    return inside ? "" : "spec.frame.crop lies outside of the frame";
}

// A member as a number, where it is there and is one.
std::optional<double> number_of(const Json& json, const char* name) {
    const Json* value = json.find(name);
    if (value == nullptr || (!value->is(Json::Kind::integer) && !value->is(Json::Kind::floating))) return std::nullopt;
    return value->number();
}

std::string voltages_fault(const Json& voltages) {
    if (voltages.at("count").number() < 1 || voltages.at("electrodes").number() < 2)
        return "spec.voltages has too few voltages or electrodes";
    double radius_m = number_of(voltages, "radius_m").value_or(1), cover = number_of(voltages, "cover").value_or(0.5);
    return radius_m > 0 && 0 < cover && cover < 1 ? "" : "spec.voltages is on no body that electrodes cover";
}

std::string growth_fault(const Json& spec, const Json& growth) {
    const Json* parameters = growth.find("parameters");
    bool is_frozen = parameters != nullptr && parameters->text == "frozen";
    for (const char* name : {"diffusivity_mm2_per_day", "growth_per_day"}) {
        const Json* range = growth.find(name);
        if (range == nullptr || range->items.size() != 2) continue;
        double low = range->items[0].number(), high = range->items[1].number();
        if (!(low < high)) return std::string("spec.growth.") + name + " does not rise";
        std::optional<double> frozen = number_of(growth, (std::string("frozen_") + name).c_str());
        if (is_frozen && frozen && !(low <= *frozen && *frozen <= high))
            return std::string("spec.growth.frozen_") + name + " is outside of its range";
    }
    const Json* frame = spec.find("frame");
    std::optional<double> cells = number_of(growth, "cells");
    if (frame == nullptr || !frame->is(Json::Kind::object)) return "spec.growth needs a frame";
    if (cells && (frame->at("height").number() != 4 * *cells || frame->at("width").number() != 4 * *cells))
        return "spec.growth needs a frame of four pixels a cell";
    const Json* none = growth.find("none_class");
    const Json* classes = spec.find("classes");
    if (none == nullptr || none->text.empty() || classes == nullptr) return "";
    bool is_class = std::any_of(classes->items.begin(), classes->items.end(), [&](const Json& one) { return one.text == none->text; });
    return is_class ? "" : "spec.growth.none_class is none of the classes";
}

}  // namespace

std::string spec_fault(const Json& spec) {
    const Json* frame = spec.find("frame");
    const Json* voltages = spec.find("voltages");
    bool has_frame = frame != nullptr && frame->is(Json::Kind::object);
    bool has_voltages = voltages != nullptr && voltages->is(Json::Kind::object);
    if (has_frame)
        if (std::string fault = frame_fault(*frame); !fault.empty()) return fault;
    if (has_voltages)
        if (std::string fault = voltages_fault(*voltages); !fault.empty()) return fault;
    if (const Json* growth = spec.find("growth"); growth != nullptr && growth->is(Json::Kind::object))
        if (std::string fault = growth_fault(spec, *growth); !fault.empty()) return fault;
    if (has_frame == has_voltages) return "spec needs one of frame and voltages, not both";
    const Json* classes = spec.find("classes");
    if (spec.at("task").text != "reconstruction" && (classes == nullptr || classes->items.size() < 2))
        return "spec.classes has fewer than two classes";
    if (!has_frame) return "";
    const Json* colour = frame->find("colour");
    std::size_t channels = colour != nullptr && colour->text == "grey" ? 1 : 3;
    const Json* normalise = spec.find("normalise");
    if (normalise == nullptr) return "";
    for (const char* name : {"mean", "std"}) {
        const Json* values = normalise->find(name);
        if (values != nullptr && values->items.size() != 1 && values->items.size() != channels)
            return std::string("spec.normalise.") + name + " does not fit the channels";
    }
    return "";
}

ModelSpec spec_from_json(const Json& json) {
    ModelSpec spec;
    spec.name = json.at("name").text;
    spec.version = json.at("version").text;
    spec.task_name = json.at("task").text;
    spec.task = spec.task_name == "segmentation"     ? PHYSEDGE_SEGMENTATION
                : spec.task_name == "classification" ? PHYSEDGE_CLASSIFICATION
                                                     : PHYSEDGE_RECONSTRUCTION;
    for (const Json& name : json.at("classes").items) spec.classes.push_back(name.text);
    spec.threshold = json.at("threshold").number();
    if (const Json& frame = json.at("frame"); frame.is(Json::Kind::object)) {
        FrameSpec made;
        made.height = static_cast<int>(frame.at("height").integer());
        made.width = static_cast<int>(frame.at("width").integer());
        const std::string& colour = frame.at("colour").text;
        made.colour = colour == "grey" ? Colour::grey : colour == "bgr" ? Colour::bgr : Colour::rgb;
        made.letterbox = frame.at("fit").text == "letterbox";
        if (const Json& crop = frame.at("crop"); crop.is(Json::Kind::object))
            made.crop = Crop{crop.at("left").number(), crop.at("top").number(), crop.at("width").number(),
                             crop.at("height").number()};
        spec.frame = made;
    } else {
        spec.voltages = static_cast<std::uint32_t>(json.at("voltages").at("count").integer());
        spec.voltage_frames = json.at("voltages").at("reference").boolean ? 2 : 1;
    }
    return spec;
}

}  // namespace physedge
