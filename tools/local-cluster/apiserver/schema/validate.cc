#include "local-cluster/apiserver/schema/validate.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/object.h"
#include "local-cluster/apiserver/cel/program.h"
#include "local-cluster/apiserver/cel/regex.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/normalize.h"

namespace local_cluster {
namespace {

using boost::json::value;

constexpr int64_t kRuleBudget = 1'000'000;
constexpr int64_t kObjectBudget = 10'000'000;
constexpr size_t kCausesMax = 100;

// As Go prints a float64 with %v.
std::string NumberText(double number) { return absl::StrFormat("%g", number); }

std::string_view TypeName(const value& json) {
  if (json.is_object()) return "object";
  if (json.is_array()) return "array";
  if (json.is_string()) return "string";
  if (json.is_bool()) return "boolean";
  if (json.is_double()) return "number";
  return json.is_null() ? "null" : "integer";
}

std::string_view TypeName(const Schema& schema) {
  switch (schema.type) {
    case SchemaType::kObject:
      return "object";
    case SchemaType::kArray:
      return "array";
    case SchemaType::kString:
      return "string";
    case SchemaType::kInteger:
      return "integer";
    case SchemaType::kNumber:
      return "number";
    case SchemaType::kBoolean:
      return "boolean";
    case SchemaType::kIntOrString:
      return "integer,string";
    default:
      return "";
  }
}

bool IsInteger(const value& json) {
  return json.is_int64() || json.is_uint64() ||
         (json.is_double() && std::trunc(json.get_double()) == json.get_double());
}

bool HasType(const value& json, const Schema& schema) {
  switch (schema.type) {
    case SchemaType::kObject:
      return json.is_object();
    case SchemaType::kArray:
      return json.is_array();
    case SchemaType::kString:
      return json.is_string();
    case SchemaType::kInteger:
      return IsInteger(json);
    case SchemaType::kNumber:
      return json.is_number();
    case SchemaType::kBoolean:
      return json.is_bool();
    case SchemaType::kIntOrString:
      return json.is_string() || IsInteger(json);
    default:
      return true;
  }
}

size_t CodePoints(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// The element of `list` with the same keys as `like`; null if none.
const value* SameElement(const boost::json::array& list, const value& like,
                         const std::vector<std::string>& keys) {
  if (!like.is_object()) return nullptr;
  for (const value& one : list) {
    if (!one.is_object()) continue;
    const bool same = std::ranges::all_of(keys, [&](const std::string& key) {
      const value* a = one.get_object().if_contains(key);
      const value* b = like.get_object().if_contains(key);
      return (a == nullptr) == (b == nullptr) && (a == nullptr || *a == *b);
    });
    if (same) return &one;
  }
  return nullptr;
}

class Validator {
 public:
  explicit Validator(std::vector<ErrorCause>& causes) : causes_(causes) {}

  void Visit(const value& json, const value* old, const Schema& schema, const std::string& path) {
    if (causes_.size() >= kCausesMax) return;
    const bool unchanged = old != nullptr && *old == json;
    if (json.is_null() && schema.nullable) return;
    if (!unchanged) {
      if (!HasType(json, schema)) return WrongType(json, schema, path);
      if (schema.constraints != nullptr) CheckConstraints(json, *schema.constraints, path);
      if (schema.type == SchemaType::kString || schema.type == SchemaType::kInteger) {
        CheckFormat(json, schema, path);
      }
      CheckChildren(json, old, schema, path);
    }
    if (schema.constraints != nullptr) CheckRules(json, old, schema, path, unchanged);
  }

 private:
  void Add(std::string_view reason, const std::string& path, std::string message) {
    causes_.push_back({std::string(reason), path, std::move(message)});
  }

  void Invalid(const std::string& path, const value& json, std::string_view why) {
    const value shown = json.is_structured() ? JsonText(TypeName(json)) : json;
    causes_.push_back(InvalidField(path, shown, absl::StrFormat("%s in body %s", path, why)));
  }

  void WrongType(const value& json, const Schema& schema, const std::string& path) {
    Add("FieldValueTypeInvalid", path,
        absl::StrFormat("Invalid value: \"%s\": %s in body must be of type %s: \"%s\"",
                        TypeName(json), path, TypeName(schema), TypeName(json)));
  }

  void CheckConstraints(const value& json, const Constraints& all, const std::string& path) {
    CheckNumber(json, all, path);
    CheckText(json, all, path);
    CheckSizes(json, all, path);
    if (!all.enumeration.empty() &&
        std::ranges::find(all.enumeration, json) == all.enumeration.end()) {
      std::vector<std::string> supported;
      for (const value& one : all.enumeration) {
        supported.push_back(one.is_string() ? std::string(View(one.get_string()))
                                            : boost::json::serialize(one));
      }
      causes_.push_back(UnsupportedField(path, json, supported));
    }
    CheckCombinations(json, all, path);
  }

  void CheckNumber(const value& json, const Constraints& all, const std::string& path) {
    if (!json.is_number()) return;
    const double number = json.to_number<double>();
    const auto bound = [&](const char* words, double limit) {
      Invalid(path, json, absl::StrFormat("should be %s %s", words, NumberText(limit)));
    };
    if (all.maximum) {
      if (all.exclusive_maximum ? number >= *all.maximum : number > *all.maximum) {
        bound(all.exclusive_maximum ? "less than" : "less than or equal to", *all.maximum);
      }
    }
    if (all.minimum) {
      if (all.exclusive_minimum ? number <= *all.minimum : number < *all.minimum) {
        bound(all.exclusive_minimum ? "greater than" : "greater than or equal to", *all.minimum);
      }
    }
    if (all.multiple_of && *all.multiple_of > 0 && std::fmod(number, *all.multiple_of) != 0) {
      bound("a multiple of", *all.multiple_of);
    }
  }

  void CheckText(const value& json, const Constraints& all, const std::string& path) {
    if (!json.is_string()) return;
    const std::string_view text = View(json.get_string());
    const auto length = static_cast<int64_t>(CodePoints(text));
    if (all.length_max && length > *all.length_max) {
      Add("FieldValueTooLong", path,
          absl::StrFormat("Too long: may not be more than %d bytes", *all.length_max));
    }
    if (all.length_min && length < *all.length_min) {
      Invalid(path, json, absl::StrFormat("should be at least %d chars long", *all.length_min));
    }
    if (all.pattern != nullptr && !all.pattern->Find(text)) {
      Invalid(path, json, absl::StrFormat("should match '%s'", all.pattern_text));
    }
  }

  void TooMany(const std::string& path, size_t count, int64_t limit) {
    Add("FieldValueTooMany", path,
        absl::StrFormat("Too many: %d: must have at most %d items", count, limit));
  }

  void CheckSizes(const value& json, const Constraints& all, const std::string& path) {
    if (json.is_array()) {
      const size_t count = json.get_array().size();
      if (all.items_max && static_cast<int64_t>(count) > *all.items_max) {
        TooMany(path, count, *all.items_max);
      }
      if (all.items_min && static_cast<int64_t>(count) < *all.items_min) {
        Invalid(path, value(static_cast<int64_t>(count)),
                absl::StrFormat("should have at least %d items", *all.items_min));
      }
    } else if (json.is_object()) {
      const size_t count = json.get_object().size();
      if (all.properties_max && static_cast<int64_t>(count) > *all.properties_max) {
        TooMany(path, count, *all.properties_max);
      }
      if (all.properties_min && static_cast<int64_t>(count) < *all.properties_min) {
        Invalid(path, value(static_cast<int64_t>(count)),
                absl::StrFormat("should have at least %d properties", *all.properties_min));
      }
    }
  }

  static bool Fits(const value& json, const Schema& schema) {
    std::vector<ErrorCause> causes;
    Validator(causes).Visit(json, nullptr, schema, "");
    return causes.empty();
  }

  void CheckCombinations(const value& json, const Constraints& all, const std::string& path) {
    const auto fits = [&json](const Schema* schema) { return Fits(json, *schema); };
    if (!std::ranges::all_of(all.all_of, fits)) {
      Invalid(path, json, "must validate all the schemas (allOf)");
    }
    if (!all.any_of.empty() && !std::ranges::any_of(all.any_of, fits)) {
      Invalid(path, json, "must validate at least one schema (anyOf)");
    }
    if (!all.one_of.empty() && std::ranges::count_if(all.one_of, fits) != 1) {
      Invalid(path, json, "must validate one and only one schema (oneOf)");
    }
    if (all.not_schema != nullptr && fits(all.not_schema)) {
      Invalid(path, json, "must not validate the schema (not)");
    }
  }

  void CheckFormat(const value& json, const Schema& schema, const std::string& path) {
    if (schema.format == "date-time" && json.is_string() &&
        !kube::ParseTime(View(json.get_string()))) {
      Invalid(path, json,
              absl::StrFormat("must be of type date-time: %s", boost::json::serialize(json)));
    }
    if (schema.format == "int32" && json.is_number()) {
      const double number = json.to_number<double>();
      if (number > 2147483647.0 || number < -2147483648.0) {
        Invalid(path, json, "must be of type int32");
      }
    }
  }

  void CheckChildren(const value& json, const value* old, const Schema& schema,
                     const std::string& path) {
    if (json.is_object()) {
      CheckMembers(json.get_object(), old == nullptr ? nullptr : old->if_object(), schema, path);
    } else if (json.is_array() && schema.items != nullptr) {
      CheckElements(json.get_array(), old == nullptr ? nullptr : old->if_array(), schema, path);
    }
  }

  void CheckMembers(const boost::json::object& object, const boost::json::object* old,
                    const Schema& schema, const std::string& path) {
    for (const Property& property : schema.properties) {
      if (property.required && !object.contains(property.name)) {
        causes_.push_back(RequiredField(FieldPath(path, property.name)));
      }
    }
    for (const auto& member : object) {
      const std::string_view name = member.key();
      // The metadata of the object itself is checked elsewhere.
      if (path.empty() && name == "metadata") continue;
      const Property* property = schema.Find(name);
      const Schema* inner = property != nullptr ? property->schema : schema.additional;
      if (inner == nullptr) continue;
      const value* before = old == nullptr ? nullptr : old->if_contains(name);
      Visit(member.value(), before, *inner, FieldPath(path, name));
    }
  }

  void CheckElements(const boost::json::array& array, const boost::json::array* old,
                     const Schema& schema, const std::string& path) {
    for (size_t i = 0; i < array.size(); ++i) {
      const value* before = nullptr;
      if (old != nullptr && schema.list_type == ListType::kMap) {
        before = SameElement(*old, array[i], schema.list_map_keys);
      }
      Visit(array[i], before, *schema.items, FieldPath(path, i));
    }
    if (schema.list_type == ListType::kAtomic || array.size() > 10'000) return;
    for (size_t i = 1; i < array.size(); ++i) {
      const value* first = schema.list_type == ListType::kMap
                               ? SameElement(array, array[i], schema.list_map_keys)
                               : std::find(array.begin(), array.end(), array[i]);
      if (first == nullptr || first == &array[i]) continue;
      value shown = array[i];
      if (schema.list_type == ListType::kMap && array[i].is_object()) {
        boost::json::object keys;
        for (const std::string& key : schema.list_map_keys) {
          if (const value* one = array[i].get_object().if_contains(key)) keys[key] = *one;
        }
        shown = std::move(keys);
      }
      causes_.push_back(DuplicateField(FieldPath(path, i), shown));
    }
  }

  void CheckRules(const value& json, const value* old, const Schema& schema,
                  const std::string& path, bool unchanged) {
    for (const Constraints::Rule& rule : schema.constraints->rules) {
      if (rule.uses_old ? old == nullptr : unchanged) continue;
      int64_t budget = std::min(kRuleBudget, object_budget_);
      const int64_t before = budget;
      const absl::StatusOr<bool> holds = rule.program->Holds(json, old, budget);
      object_budget_ -= before - budget;
      if (holds.ok() && *holds) continue;
      const std::string at =
          rule.field_path.starts_with('.') ? FieldPath(path, rule.field_path.substr(1)) : path;
      std::string message = rule.message;
      if (!holds.ok()) {
        message = absl::StrFormat("%s evaluating rule: %s", std::string(holds.status().message()),
                                  rule.rule);
      } else if (rule.message_program != nullptr) {
        message = rule.message_program->Text(json, old, budget).value_or(message);
      }
      if (message.empty()) message = absl::StrFormat("failed rule: %s", rule.rule);
      AddRuleCause(rule, schema, json, at, message);
    }
  }

  void AddRuleCause(const Constraints::Rule& rule, const Schema& schema, const value& json,
                    const std::string& path, std::string_view message) {
    if (rule.reason == "FieldValueForbidden") {
      causes_.push_back(ForbiddenField(path, message));
    } else if (rule.reason == "FieldValueRequired") {
      causes_.push_back(RequiredField(path, message));
    } else if (rule.reason == "FieldValueDuplicate") {
      causes_.push_back(DuplicateField(path, JsonText(TypeName(json))));
    } else {
      const std::string_view type = TypeName(schema);
      causes_.push_back(
          InvalidField(path, JsonText(type.empty() ? TypeName(json) : type), message));
    }
  }

  std::vector<ErrorCause>& causes_;
  int64_t object_budget_ = kObjectBudget;
};

}  // namespace

void ValidateBySchema(const value& object, const value* old, const Schema& schema,
                      std::vector<ErrorCause>& causes) {
  Validator(causes).Visit(object, old, schema, "");
}

}  // namespace local_cluster
