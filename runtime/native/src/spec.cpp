#include "spec.hpp"

namespace physedge {

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
