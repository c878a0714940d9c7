#include "rules.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <string_view>

namespace physedge {

namespace {

using Kind = Json::Kind;

Json of_number(double amount) {
    Json json;
    json.kind = Kind::floating;
    json.floating = amount;
    return json;
}

Json of_truth(bool truth) {
    Json json;
    json.kind = Kind::boolean;
    json.boolean = truth;
    return json;
}

Json of_items(std::vector<Json> items) {
    Json json;
    json.kind = Kind::array;
    json.items = std::move(items);
    return json;
}

bool is_number(const Json& value) { return value.is(Kind::integer) || value.is(Kind::floating); }

bool is_true(const Json& value) { return value.is(Kind::boolean) && value.boolean; }

std::vector<Json> items_of(const Json& value) {
    if (!value.is(Kind::object)) return value.items;
    std::vector<Json> items;
    for (const auto& [name, member] : value.members) {
        (void)name;
        items.push_back(member);
    }
    return items;
}

bool is_equal(const Json& one, const Json& other) {
    if (is_number(one) && is_number(other)) return one.number() == other.number();
    if (one.kind != other.kind) return false;
    switch (one.kind) {
        case Kind::boolean: return one.boolean == other.boolean;
        case Kind::string: return one.text == other.text;
        case Kind::array: return std::equal(one.items.begin(), one.items.end(), other.items.begin(), other.items.end(), is_equal);
        case Kind::null: return true;
        default: throw std::logic_error("a rule compares objects");
    }
}

bool is_in(const Json& value, const std::vector<Json>& items) {
    return std::any_of(items.begin(), items.end(), [&](const Json& one) { return is_equal(value, one); });
}

Json at(const Json& found, std::string_view steps) {
    if (steps.empty()) return found;
    std::size_t end = std::min(steps.find('.'), steps.size());
    std::string_view step = steps.substr(0, end), rest = steps.substr(std::min(end + 1, steps.size()));
    if (step != "*") {
        const Json* member = found.is(Kind::object) ? found.find(std::string(step)) : nullptr;
        return member != nullptr ? at(*member, rest) : Json{};
    }
    std::vector<Json> each;
    for (const Json& one : items_of(found)) each.push_back(at(one, rest));
    return of_items(std::move(each));
}

class Asked {
public:
    Asked(const Json& document, const Json& item) : document_(document), item_(item) {}

    Json value(const Json& expression) const {
        if (expression.is(Kind::string) && !expression.text.empty() && (expression.text[0] == '$' || expression.text[0] == '@')) {
            std::string_view steps = expression.text;
            return at(steps[0] == '$' ? document_ : item_, steps.substr(std::min<std::size_t>(2, steps.size())));
        }
        if (!expression.is(Kind::array)) return expression;
        const std::string& name = expression.items.at(0).text;
        auto operand = [&](std::size_t index) { return value(expression.items.at(index)); };
        auto begin = expression.items.begin() + 1, end = expression.items.end();
        auto holds = [&](const Json& one) { return is_true(value(one)); };
        if (name == "all") return of_truth(std::all_of(begin, end, holds));
        if (name == "any") return of_truth(std::any_of(begin, end, holds));
        if (name == "not") return of_truth(!holds(*begin));
        if (name == "choose") return operand(holds(*begin) ? 2 : 3);
        if (name == "each" || name == "some") {
            std::vector<Json> items = items_of(operand(1));
            auto inside = [&](const Json& one) { return is_true(Asked(document_, one).value(expression.items.at(2))); };
            return of_truth(name == "each" ? std::all_of(items.begin(), items.end(), inside)
                                           : std::any_of(items.begin(), items.end(), inside));
        }
        std::vector<Json> values;
        for (auto one = begin; one != end; ++one) values.push_back(value(*one));
        return plain(name, values);
    }

private:
    const Json& document_;
    const Json& item_;

    // An operator that looks at the values of its operands only.
    static Json plain(const std::string& name, const std::vector<Json>& values) {
        if (name == "list") return of_items(values);
        const Json& one = values.at(0);
        if (name == "equal") return of_truth(is_equal(one, values.at(1)));
        if (name == "in") return of_truth(is_in(one, items_of(values.at(1))));
        if (name == "within") {
            std::vector<Json> part = items_of(one), whole = items_of(values.at(1));
            return of_truth(std::all_of(part.begin(), part.end(), [&](const Json& each) { return is_in(each, whole); }));
        }
        if (name == "at most" || name == "below" || name == "plus" || name == "times") return of_numbers(name, one, values.at(1));
        if (name == "starts" || name == "ends") return of_truth(of_texts(name, one, values.at(1)));
        return of_list(name, one);
    }

    static Json of_numbers(const std::string& name, const Json& one, const Json& other) {
        bool are_numbers = is_number(one) && is_number(other);
        double first = are_numbers ? one.number() : 0, second = are_numbers ? other.number() : 0;
        if (name == "at most") return of_truth(are_numbers && first <= second);
        if (name == "below") return of_truth(are_numbers && first < second);
        if (!are_numbers) return {};
        return of_number(name == "plus" ? first + second : first * second);
    }

    static bool of_texts(const std::string& name, const Json& one, const Json& other) {
        if (!one.is(Kind::string) || !other.is(Kind::string) || one.text.size() < other.text.size()) return false;
        std::size_t start = name == "starts" ? 0 : one.text.size() - other.text.size();
        return one.text.compare(start, other.text.size(), other.text) == 0;
    }

    static Json of_list(const std::string& name, const Json& list) {
        std::vector<Json> items = items_of(list);
        if (name == "count") return of_number(static_cast<double>(items.size()));
        if (name == "first") return items.empty() ? Json{} : items.front();
        if (name == "last") return items.empty() ? Json{} : items.back();
        if (name == "unique") {
            std::set<std::string> seen;
            return of_truth(std::all_of(items.begin(), items.end(), [&](const Json& one) { return seen.insert(canonical_json(one)).second; }));
        }
        if (name == "product") {
            double product = 1;
            for (const Json& one : items) product *= is_number(one) ? one.number() : 1;
            return of_number(product);
        }
        if (name == "keys") {
            std::vector<Json> keys;
            for (const auto& [key, member] : list.members) {
                (void)member;
                Json text;
                text.kind = Kind::string;
                text.text = key;
                keys.push_back(std::move(text));
            }
            return of_items(std::move(keys));
        }
        throw std::logic_error("the rules have the operator " + name);
    }
};

}  // namespace

std::string broken_rule(const Json& rules, const Json& document) {
    static const Json nothing;
    for (const Json& rule : rules.items)
        if (!is_true(Asked(document, nothing).value(rule.items.at(1)))) return rule.items.at(0).text;
    return "";
}

}  // namespace physedge
