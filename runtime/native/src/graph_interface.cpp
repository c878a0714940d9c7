#include "graph_interface.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "graph_wire.hpp"
#include "ir_check.hpp"
#include "ir_spelling.hpp"
#include "patterns.hpp"
#include "refusal.hpp"
#include "text.hpp"

namespace physedge {

namespace {

// Type and sides of a tensor with its batch axis.
struct Value {
    std::string type;
    std::vector<std::int64_t> sides;

    bool operator==(const Value& other) const { return type == other.type && sides == other.sides; }
};

std::string shown(const std::vector<Value>& values) {
    std::string text;
    for (std::size_t index = 0; index < values.size() && index < 3; ++index) {
        text += (index == 0 ? "" : ", ") + values[index].type + " ";
        for (std::size_t axis = 0; axis < values[index].sides.size() && axis < 8; ++axis)
            text += (axis == 0 ? "" : "x") + std::to_string(values[index].sides[axis]);
        if (values[index].sides.empty()) text += "of no size";
    }
    return text.empty() ? "nothing" : text;
}

[[noreturn]] void other_interface(const std::string& origin, const std::string& found, const std::string& expected) {
    refuse(PHYSEDGE_INTEGRITY, "PE-BUNDLE-038", origin + " has " + found, expected + ", as the manifest declares it",
           "do not use it; its maker exports the network again");
}

Value value_of(const Message& value) {
    const Message& kind = *value.message(value_field::type)->message(type_field::tensor_type);
    std::int64_t type = kind.integer(tensor_type_field::elem_type);
    Value found{type == 1 ? "float32" : type == 2 ? "uint8" : "type " + std::to_string(type), {}};
    for (const Field& axis : kind.message(tensor_type_field::shape)->list(shape_field::dim))
        found.sides.push_back(axis.message->integer(dimension_field::dim_value));
    return found;
}

std::vector<std::int64_t> with_batch(std::vector<std::int64_t> sides) {
    sides.insert(sides.begin(), 1);
    return sides;
}

Value ir_value(const IrLayer& layer) {
    const std::string* kind = layer.find("element_type");
    const std::string* sides = layer.find("shape");
    std::string type = kind != nullptr ? *kind : "", shape = (sides != nullptr ? *sides : "") + ",";
    Value value{type == "f32" ? "float32" : type == "u8" ? "uint8" : type.substr(0, 20), {}};
    bool are_whole = true;
    for (std::size_t begin = 0; begin < shape.size();) {
        std::size_t end = shape.find(',', begin);
        std::string side = shape.substr(begin, end - begin);
        are_whole = are_whole && !side.empty() && side.size() < 10 && std::all_of(side.begin(), side.end(), is_digit);
        value.sides.push_back(are_whole ? std::stoll(side) : 0);
        begin = end + 1;
    }
    if (!are_whole) value.sides.clear();
    return value;
}

}  // namespace

void check_interface(std::string_view graph, const Manifest& manifest, const std::string& origin) {
    const ModelSpec& spec = manifest.spec;
    std::vector<std::int64_t> sides = {static_cast<std::int64_t>(spec.voltages)};
    if (spec.voltage_frames == 2) sides.insert(sides.begin(), 2);
    if (spec.frame) sides = {spec.frame->height, spec.frame->width, spec.frame->channels()};
    std::vector<Value> wanted = {{spec.frame ? "uint8" : "float32", with_batch(sides)}}, inputs;
    if (is_ir(graph)) {
        for (const IrLayer& layer : read_net(unpack_ir(graph, origin).xml).layers)
            if (layer.kind == "Parameter") inputs.push_back(ir_value(layer));
        if (!(inputs == wanted)) other_interface(origin, "the input " + shown(inputs), shown(wanted));
        return;
    }
    Message model = read_model(graph);
    const Message& body = *model.message(model_field::graph);
    std::set<std::string_view> constants;
    for (const Field& tensor : body.list(graph_field::initializer)) constants.insert(tensor.message->text(tensor_field::name));
    for (const Field& value : body.list(graph_field::input))
        if (constants.count(value.message->text(value_field::name)) == 0) inputs.push_back(value_of(*value.message));
    if (!(inputs == wanted)) other_interface(origin, "the input " + shown(inputs), shown(wanted));
    std::map<std::string, std::vector<Value>> outputs, declared;
    for (const Field& value : body.list(graph_field::output))
        outputs[std::string(value.message->text(value_field::name))] = {value_of(*value.message)};
    for (const Output& output : manifest.outputs) declared[output.name] = {{"float32", with_batch(output.shape)}};
    std::set<std::string> names;
    for (const auto* map : {&outputs, &declared})
        for (const auto& one : *map) names.insert(one.first);
    for (const std::string& name : names)
        if (!(outputs[name] == declared[name]))
            other_interface(origin, "the output " + quoted(name) + " " + shown(outputs[name]), shown(declared[name]));
}

}  // namespace physedge
