#include "spec.hpp"

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

}  // namespace

std::string spec_fault(const Json& spec) {
    const Json* frame = spec.find("frame");
    const Json* voltages = spec.find("voltages");
    bool has_frame = frame != nullptr && frame->is(Json::Kind::object);
    bool has_voltages = voltages != nullptr && voltages->is(Json::Kind::object);
    if (has_frame)
        if (std::string fault = frame_fault(*frame); !fault.empty()) return fault;
    if (has_voltages && (voltages->at("count").number() < 1 || voltages->at("electrodes").number() < 2))
        return "spec.voltages has too few voltages or electrodes";
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
    }
    return spec;
}

}  // namespace physedge
