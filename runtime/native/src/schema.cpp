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
            boolean(value, path);
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
        for (const auto& [name, member] : value.members) {
            std::string place = path.empty() ? name : path + "." + name;
            const Json* own = properties != nullptr ? properties->find(name) : nullptr;
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
        const Json* least = schema.find("minItems");
        const Json* most = schema.find("maxItems");
        if (least != nullptr && value.items.size() < static_cast<std::size_t>(least->integer()))
            note(Fit::wrong, path, "has too few items");
        if (most != nullptr && value.items.size() > static_cast<std::size_t>(most->integer()))
            note(Fit::wrong, path, "has too many items");
        if (const Json* forms = schema.find("prefixItems"))
            for (std::size_t index = 0; index < std::min(forms->items.size(), value.items.size()); ++index)
                judge(value.items[index], forms->items[index], path + "." + std::to_string(index));
        if (const Json* form = schema.find("items"))
            for (std::size_t index = 0; index < value.items.size(); ++index)
                judge(value.items[index], *form, path + "." + std::to_string(index));
    }

    void boolean(const Json& value, const std::string& path) {
        if (value.is(Kind::boolean)) return;
        // The words that pydantic takes for a truth value, and the numbers 0 and 1.
        static constexpr std::string_view words[] = {"0", "1", "f", "false", "n", "no", "off", "on", "t", "true", "y", "yes"};
        std::string lower = value.text;
        for (char& letter : lower)
            if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + ('a' - 'A'));
        bool is_word = (value.is(Kind::string) || value.is(Kind::integer)) &&
                       std::find(std::begin(words), std::end(words), lower) != std::end(words);
        bool is_number = value.is(Kind::floating) && (value.floating == 0 || value.floating == 1);
        note(is_word || is_number ? Fit::coercible : Fit::wrong, path, "should be true or false");
    }

    void string(const Json& value, const Json& schema, const std::string& path) {
        if (!value.is(Kind::string)) return note(Fit::wrong, path, "should be a text");
        auto characters = std::count_if(value.text.begin(), value.text.end(),
                                        [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
        if (const Json* choices = schema.find("enum")) {
            bool known = std::any_of(choices->items.begin(), choices->items.end(),
                                     [&](const Json& one) { return one.text == value.text; });
            if (!known) note(Fit::wrong, path, "is none of the words that may stand here");
        }
        if (const Json* pattern = schema.find("pattern"))
            if (!matches_pattern(pattern->text, value.text)) note(Fit::wrong, path, "is not in its form");
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
                if (whole && amount != std::floor(amount)) return note(Fit::wrong, path, "should be an integer");
                if (whole) note(Fit::coercible, path, "has a point");
                break;
            case Kind::boolean:
                amount = value.boolean ? 1 : 0;
                note(Fit::coercible, path, "is true or false where a number is written");
                break;
            case Kind::string:
                if (!reads_as_number(value.text, whole, amount)) return note(Fit::wrong, path, "should be a number");
                note(Fit::coercible, path, "is a text where a number is written");
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

    static bool reads_as_number(std::string_view text, bool whole, double& amount) {
        while (!text.empty() && (text.front() == ' ' || text.front() == '+')) text.remove_prefix(1);
        while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
        auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
        return error == std::errc() && end == text.data() + text.size() && std::isfinite(amount) &&
               (!whole || amount == std::floor(amount));
    }
};

// Every keyword that the judge understands. One that it does not would be a check left out in silence.
void check_keywords(const Json& schema, bool names_are_keys) {
    static const std::set<std::string> known = {
        "$defs", "$ref", "additionalProperties", "anyOf", "enum", "exclusiveMaximum", "exclusiveMinimum", "items",
        "leftOutWhereNull", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "multipleOf", "pattern",
        "patternProperties", "prefixItems", "properties", "required", "type"};
    if (schema.is(Kind::array))
        for (const Json& item : schema.items) check_keywords(item, false);
    if (!schema.is(Kind::object)) return;
    for (const auto& [name, member] : schema.members) {
        if (!names_are_keys && known.count(name) == 0)
            throw std::logic_error("the manifest's schema has the keyword " + name);
        bool names_follow = name == "$defs" || name == "properties" || name == "patternProperties";
        check_keywords(member, !names_are_keys && names_follow);
    }
}

}  // namespace

Judgement judge_by_schema(const Json& value, const Json& schema) {
    check_keywords(schema, false);
    Judge judge(schema);
    judge.judge(value, schema, "");
    return judge.result;
}

}  // namespace physedge
