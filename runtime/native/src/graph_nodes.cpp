#include "graph_nodes.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include "text.hpp"

namespace physedge {

namespace {

struct AttributeType {
    std::int64_t number;
    char letter;
    unsigned field;
};

struct AttributeRule {
    std::string_view name;
    char letter;
    bool is_required;
};

struct Schema {
    std::string_view name;
    std::int64_t since;
    std::size_t fewest_inputs, most_inputs, fewest_outputs, most_outputs;
    std::size_t first_attribute, attributes;
};

#include "operator_schemas.inc"

constexpr unsigned value_fields[] = {attribute_field::f,      attribute_field::i,    attribute_field::s,
                                     attribute_field::t,      attribute_field::floats, attribute_field::ints,
                                     attribute_field::strings};

[[noreturn]] void refuse_node(const std::string& found, const std::string& expected) {
    throw NotAllowed{"PE-BUNDLE-037", found, expected};
}

const Schema* schema_of(std::string_view name, std::int64_t opset) {
    const Schema* found = nullptr;
    for (const Schema* one = std::lower_bound(std::begin(schemas), std::end(schemas), name,
                                              [](const Schema& schema, std::string_view wanted) { return schema.name < wanted; });
         one != std::end(schemas) && one->name == name && one->since <= opset; ++one)
        found = one;
    return found;
}

void check_names(const std::string& name, const char* what, const Message::List& names, std::size_t fewest, std::size_t most) {
    std::size_t needed = most == endless ? names.size() : std::min(fewest, names.size());
    bool is_whole = std::none_of(names.begin(), names.begin() + needed, [](const Field& one) { return one.bytes.empty(); });
    if (names.size() >= fewest && names.size() <= most && is_whole) return;
    std::string told = std::to_string(fewest);
    if (most == endless)
        told += " or more";
    else if (most != fewest)
        told += " to " + std::to_string(most);
    refuse_node(name + " with " + std::to_string(names.size()) + " " + what + ", or an empty one", told + " " + what);
}

void check_attribute(const std::string& name, const Schema& schema, const Message& attribute, std::string_view key) {
    std::int64_t number = attribute.integer(attribute_field::type);
    const AttributeType* type = std::find_if(std::begin(attribute_types), std::end(attribute_types),
                                             [&](const AttributeType& one) { return one.number == number; });
    const AttributeRule* first = attribute_rules + schema.first_attribute;
    const AttributeRule* last = first + schema.attributes;
    const AttributeRule* rule = std::find_if(first, last, [&](const AttributeRule& one) { return one.name == key; });
    if (type == std::end(attribute_types) || rule == last || rule->letter != type->letter)
        refuse_node(name + " with the attribute " + quoted(key), "attributes of the standard, in its types");
    bool is_held = false, is_other_held = false;
    for (unsigned field : value_fields)
        if (attribute.find(field) != nullptr) (field == type->field ? is_held : is_other_held) = true;
    bool is_list = type->letter < 'a';
    if (is_other_held || (!is_held && !is_list))
        refuse_node(name + " with the attribute " + quoted(key) + " that is none of its type", "one value of its type");
}

}  // namespace

void check_node(const Message& node, std::int64_t opset) {
    std::string name(node.text(node_field::op_type));
    const Schema* schema = schema_of(name, opset);
    if (schema == nullptr)
        refuse_node(name + ", which the operator set " + std::to_string(opset) + " does not have", "an operator of the graph's own set");
    Message::List outputs = node.list(node_field::output);
    check_names(name, "inputs", node.list(node_field::input), schema->fewest_inputs, schema->most_inputs);
    check_names(name, "outputs", outputs, schema->fewest_outputs, schema->most_outputs);
    if (std::all_of(outputs.begin(), outputs.end(), [](const Field& one) { return one.bytes.empty(); }))
        refuse_node(name + " without an output", "an output");
    std::set<std::string_view> given;
    for (const Field& attribute : node.list(node_field::attribute)) {
        std::string_view key = attribute.message->text(attribute_field::name);
        if (!given.insert(key).second) refuse_node(name + " with " + quoted(key) + " twice", "each attribute once");
        check_attribute(name, *schema, *attribute.message, key);
    }
    for (std::size_t index = 0; index < schema->attributes; ++index) {
        const AttributeRule& rule = attribute_rules[schema->first_attribute + index];
        if (rule.is_required && given.find(rule.name) == given.end())
            refuse_node(name + " without " + quoted(rule.name), "every attribute that the standard asks for");
    }
}

}  // namespace physedge
