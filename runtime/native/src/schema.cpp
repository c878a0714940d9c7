#include "schema.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <stdexcept>
#include <string_view>

#include "patterns.hpp"

namespace physedge {

namespace {

using Kind = Json::Kind;

class Judge {
public:
    explicit Judge(const Json& root) : root_(root) {}

    Judgement result;

    void judge(const Json& value, const Json& schema, const std::string& path) {
        if (const Json* reference = schema.find("$ref")) {
            static constexpr std::string_view prefix = "#/$defs/";
            judge(value, root_.at("$defs").at(reference->text.substr(prefix.size())), path);
        } else if (const Json* choices = schema.find("anyOf")) {
            any_of(value, *choices, path);
        } else if (const Json* type = schema.find("type")) {
            of_type(value, type->text, schema, path);
        }  // else anything goes
    }

private:
    const Json& root_;

    void note(Fit fit, const std::string& path, const std::string& why) {
        if (static_cast<int>(fit) <= static_cast<int>(result.fit)) return;
        result.fit = fit;
        result.path = path;
        result.why = why;
    }

    void any_of(const Json& value, const Json& choices, const std::string& path) {
        Judgement best{Fit::wrong, path, "fits none of the forms"};
        for (const Json& choice : choices.items) {
            Judge one(root_);
            one.judge(value, choice, path);
            // Where nothing fits, the form that is not null explains best.
            bool better = one.result.fit < best.fit || (one.result.fit == Fit::wrong && &choice == &choices.items[0]);
            if (better) best = one.result;
        }
        note(best.fit, best.path, best.why);
    }

    void of_type(const Json& value, const std::string& type, const Json& schema, const std::string& path) {
        if (type == "object") {
            object(value, schema, path);
        } else if (type == "array") {
            array(value, schema, path);
        } else if (type == "string") {
            string(value, schema, path);
        } else if (type == "integer") {
            number(value, schema, path, true);
        } else if (type == "number") {
            number(value, schema, path, false);
        } else if (type == "boolean") {
            if (!value.is(Kind::boolean)) note(Fit::wrong, path, "should be true or false");
        } else if (type == "null") {
            if (!value.is(Kind::null)) note(Fit::wrong, path, "should be null");
        } else {
            throw std::logic_error("the manifest's schema has the type " + type);
        }
    }

    void object(const Json& value, const Json& schema, const std::string& path) {
        if (!value.is(Kind::object)) return note(Fit::wrong, path, "should be an object");
        const Json* properties = schema.find("properties");
        const Json* others = schema.find("additionalProperties");
        const Json* patterns = schema.find("patternProperties");
        const Json* names = schema.find("propertyNames");
        count(value.members.size(), schema, "minProperties", "maxProperties", path);
        for (const auto& [name, member] : value.members) {
            std::string place = path.empty() ? name : path + "." + name;
            const Json* own = properties != nullptr ? properties->find(name) : nullptr;
            if (names != nullptr) text(name, *names, place);
            if (own != nullptr && member.is(Kind::null) && is_left_out(*own)) {
                note(Fit::coercible, place, "is null, which is left out");
            } else if (own != nullptr) {
                judge(member, *own, place);
            } else if (patterns != nullptr) {
                const auto& [pattern, form] = *patterns->members.begin();
                if (matches_pattern(pattern, name))
                    judge(member, form, place);
                else
                    note(Fit::wrong, place, "is no name that may stand here");
            } else if (others != nullptr && others->is(Kind::boolean) && !others->boolean) {
                note(Fit::wrong, place, "is unknown");
            } else if (others != nullptr && others->is(Kind::object)) {
                judge(member, *others, place);
            }
        }
        if (properties == nullptr) return;
        const Json* required = schema.find("required");
        for (const auto& [name, form] : properties->members) {
            if (value.find(name) != nullptr || is_left_out(form)) continue;
            bool needed = required != nullptr && std::any_of(required->items.begin(), required->items.end(),
                                                             [&name = name](const Json& one) { return one.text == name; });
            // Python would fill its default in.
            note(needed ? Fit::wrong : Fit::older, path.empty() ? name : path + "." + name, "is missing");
        }
    }

    // Ours: a member that is not written where it is null.
    static bool is_left_out(const Json& schema) { return schema.find("leftOutWhereNull") != nullptr; }

    void array(const Json& value, const Json& schema, const std::string& path) {
        if (!value.is(Kind::array)) return note(Fit::wrong, path, "should be a list");
        count(value.items.size(), schema, "minItems", "maxItems", path);
        if (const Json* forms = schema.find("prefixItems"))
            for (std::size_t index = 0; index < std::min(forms->items.size(), value.items.size()); ++index)
                judge(value.items[index], forms->items[index], path + "." + std::to_string(index));
        if (const Json* form = schema.find("items"))
            for (std::size_t index = 0; index < value.items.size(); ++index)
                judge(value.items[index], *form, path + "." + std::to_string(index));
    }

    void count(std::size_t items, const Json& schema, const char* least, const char* most, const std::string& path) {
        const Json* smallest = schema.find(least);
        const Json* largest = schema.find(most);
        if (smallest != nullptr && items < static_cast<std::size_t>(smallest->integer())) note(Fit::wrong, path, "has too few items");
        if (largest != nullptr && items > static_cast<std::size_t>(largest->integer())) note(Fit::wrong, path, "has too many items");
    }

    void string(const Json& value, const Json& schema, const std::string& path) {
        if (!value.is(Kind::string)) return note(Fit::wrong, path, "should be a text");
        text(value.text, schema, path);
    }

    void text(const std::string& value, const Json& schema, const std::string& path) {
        auto characters = std::count_if(value.begin(), value.end(),
                                        [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
        if (const Json* choices = schema.find("enum")) {
            bool known = std::any_of(choices->items.begin(), choices->items.end(),
                                     [&](const Json& one) { return one.text == value; });
            if (!known) note(Fit::wrong, path, "is none of the words that may stand here");
        }
        if (const Json* pattern = schema.find("pattern"))
            if (!matches_pattern(pattern->text, value)) note(Fit::wrong, path, "is not in its form");
        if (const Json* least = schema.find("minLength"))
            if (characters < least->integer()) note(Fit::wrong, path, "is too short");
        if (const Json* most = schema.find("maxLength"))
            if (characters > most->integer()) note(Fit::wrong, path, "is too long");
    }

    void number(const Json& value, const Json& schema, const std::string& path, bool whole) {
        double amount = 0;
        switch (value.kind) {
            case Kind::integer:
                amount = value.number();
                if (!whole) note(Fit::coercible, path, "is an integer where a number with a point is written");
                break;
            case Kind::floating:
                amount = value.floating;
                if (whole) return note(Fit::wrong, path, "should be an integer");
                break;
            default: return note(Fit::wrong, path, "should be a number");
        }
        if (const Json* step = schema.find("multipleOf"))
            if (std::fmod(amount, step->number()) != 0) note(Fit::wrong, path, "is no multiple of what it must be");
        bound(schema, "minimum", path, [&](double limit) { return amount >= limit; });
        bound(schema, "maximum", path, [&](double limit) { return amount <= limit; });
        bound(schema, "exclusiveMinimum", path, [&](double limit) { return amount > limit; });
        bound(schema, "exclusiveMaximum", path, [&](double limit) { return amount < limit; });
    }

    template <typename Holds>
    void bound(const Json& schema, const char* keyword, const std::string& path, Holds holds) {
        const Json* limit = schema.find(keyword);
        if (limit != nullptr && !holds(limit->number())) note(Fit::wrong, path, "is out of its range");
    }
};

// Every keyword that the judge understands. One that it does not would be a check left out in silence.
void check_keywords(const Json& schema, bool names_are_keys) {
    static const std::set<std::string> known = {
        "$defs", "$ref", "additionalProperties", "anyOf", "default", "enum", "exclusiveMaximum", "exclusiveMinimum", "items",
        "leftOutWhereNull", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties",
        "minimum", "multipleOf", "pattern", "patternProperties", "prefixItems", "properties", "propertyNames", "required", "type"};
    if (schema.is(Kind::array))
        for (const Json& item : schema.items) check_keywords(item, false);
    if (!schema.is(Kind::object)) return;
    for (const auto& [name, member] : schema.members) {
        if (!names_are_keys && known.count(name) == 0)
            throw std::logic_error("the manifest's schema has the keyword " + name);
        if (!names_are_keys && name == "default") continue;  // a value, not a form
        bool names_follow = name == "$defs" || name == "properties" || name == "patternProperties";
        check_keywords(member, !names_are_keys && names_follow);
    }
}

const Json& resolved(const Json& schema, const Json& root) {
    static constexpr std::string_view prefix = "#/$defs/";
    const Json* reference = schema.find("$ref");
    return reference == nullptr ? schema : root.at("$defs").at(reference->text.substr(prefix.size()));
}

Json filled(const Json& value, const Json& schema, const Json& root) {
    const Json& form = resolved(schema, root);
    if (const Json* choices = form.find("anyOf"))  // of pydantic: a form, or null
        return value.is(Kind::null) ? value : filled(value, choices->items[0], root);
    Json whole = value;
    const Json* items = form.find("items");
    if (value.is(Kind::array) && items != nullptr)
        for (Json& item : whole.items) item = filled(item, *items, root);
    if (!value.is(Kind::object)) return whole;
    const Json* others = form.find("additionalProperties");
    if (const Json* patterns = form.find("patternProperties")) others = &patterns->members.begin()->second;
    const Json* properties = form.find("properties");
    for (auto& [name, member] : whole.members) {
        const Json* own = properties != nullptr ? properties->find(name) : others;
        if (own != nullptr && own->is(Kind::object)) member = filled(member, *own, root);
    }
    if (properties == nullptr) return whole;
    for (const auto& [name, own] : properties->members)
        if (const Json* standard = own.find("default"); standard != nullptr && whole.find(name) == nullptr)
            whole.members[name] = filled(*standard, own, root);
    return whole;
}

}  // namespace

Json with_defaults(const Json& value, const Json& schema) { return filled(value, schema, schema); }

Json understood_schema(std::string_view text) {
    Json schema = parse_json(text);
    check_keywords(schema, false);
    return schema;
}

Judgement judge_by_schema(const Json& value, const Json& schema) {
    Judge judge(schema);
    judge.judge(value, schema, "");
    return judge.result;
}

}  // namespace physedge
