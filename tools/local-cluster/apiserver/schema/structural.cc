#include "local-cluster/apiserver/schema/structural.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/apiserver/cel/program.h"
#include "local-cluster/apiserver/cel/regex.h"
#include "local-cluster/apiserver/schema/builtin.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/normalize.h"

namespace local_cluster {
namespace {

using boost::json::object;
using boost::json::value;

constexpr int kDepthMax = 100;

class Parser {
 public:
  Parser(SchemaArena& arena, std::vector<ErrorCause>& causes) : arena_(arena), causes_(causes) {}

  Schema* Root(const value& json, const std::string& path) {
    Schema* root = Parse(json, path, 0, true);
    for (const char* name : {"apiVersion", "kind"}) Replace(*root, name, String());
    Replace(*root, "metadata", &ObjectMetaSchema());
    return root;
  }

 private:
  const Schema* String() {
    Schema& schema = arena_.emplace_back();
    schema.type = SchemaType::kString;
    return &schema;
  }

  static void Replace(Schema& root, std::string_view name, const Schema* schema) {
    std::erase_if(root.properties, [name](const Property& one) { return one.name == name; });
    Property property;
    property.name = name;
    property.schema = schema;
    root.properties.push_back(std::move(property));
    std::ranges::sort(root.properties, {}, &Property::name);
  }

  void Refuse(const std::string& path, std::string_view why) {
    causes_.push_back(ForbiddenField(path, why));
  }

  void ParseType(const value& json, const std::string& path, bool structural, Schema& schema) {
    static constexpr std::pair<std::string_view, SchemaType> kTypes[] = {
        {"object", SchemaType::kObject}, {"array", SchemaType::kArray},
        {"string", SchemaType::kString}, {"integer", SchemaType::kInteger},
        {"number", SchemaType::kNumber}, {"boolean", SchemaType::kBoolean},
    };
    const std::string_view type = kube::StringAt(json, {"type"});
    schema.preserve_unknown = kube::BoolAt(json, {"x-kubernetes-preserve-unknown-fields"});
    if (kube::BoolAt(json, {"x-kubernetes-int-or-string"})) {
      schema.type = SchemaType::kIntOrString;
      return;
    }
    for (const auto& [name, known] : kTypes) {
      if (name == type) schema.type = known;
    }
    if (!type.empty() && schema.type == SchemaType::kAny) {
      causes_.push_back(
          UnsupportedField(path + ".type", JsonText(type),
                           {"array", "boolean", "integer", "number", "object", "string"}));
    }
    if (type.empty() && structural && !schema.preserve_unknown) {
      causes_.push_back(
          RequiredField(path + ".type", "must not be empty for specified object fields"));
    }
  }

  void ParseExtensions(const value& json, const std::string& path, Schema& schema) {
    schema.format = kube::StringAt(json, {"format"});
    schema.nullable = kube::BoolAt(json, {"nullable"});
    schema.embedded_resource = kube::BoolAt(json, {"x-kubernetes-embedded-resource"});
    schema.map_atomic = kube::StringAt(json, {"x-kubernetes-map-type"}) == "atomic";
    const std::string_view list = kube::StringAt(json, {"x-kubernetes-list-type"});
    if (list == "set") schema.list_type = ListType::kSet;
    if (list == "map") {
      schema.list_type = ListType::kMap;
      schema.list_map_keys = kube::StringsAt(json, {"x-kubernetes-list-map-keys"});
      if (schema.list_map_keys.empty()) {
        causes_.push_back(RequiredField(path + ".x-kubernetes-list-map-keys",
                                        "must not be empty if x-kubernetes-list-type is map"));
      }
    }
  }

  void ParseChildren(const value& json, const std::string& path, int depth, Schema& schema) {
    const value* properties = kube::FindPath(json, {"properties"});
    const std::vector<std::string> required = kube::StringsAt(json, {"required"});
    if (properties != nullptr && properties->is_object()) {
      for (const auto& member : properties->get_object()) {
        Property property;
        property.name = member.key();
        property.required = std::ranges::count(required, property.name) > 0;
        property.schema =
            Parse(member.value(), absl::StrFormat("%s.properties[%s]", path, property.name),
                  depth + 1, true);
        if (const value* standard = kube::FindPath(member.value(), {"default"})) {
          property.default_value = std::make_shared<const value>(*standard);
        }
        schema.properties.push_back(std::move(property));
      }
    }
    // A field may be required without being described.
    for (const std::string& name : required) {
      const bool described = std::ranges::any_of(
          schema.properties, [&](const Property& one) { return one.name == name; });
      if (described || depth == 0) continue;
      Property property;
      property.name = name;
      property.required = true;
      property.schema = &arena_.emplace_back();
      schema.properties.push_back(std::move(property));
    }
    std::ranges::sort(schema.properties, {}, &Property::name);
    const value* additional = kube::FindPath(json, {"additionalProperties"});
    if (additional != nullptr && additional->is_object()) {
      if (!schema.properties.empty()) {
        Refuse(path + ".additionalProperties",
               "additionalProperties and properties are mutual exclusive");
      }
      schema.additional = Parse(*additional, path + ".additionalProperties", depth + 1, true);
    } else if (additional != nullptr && *additional == value(true)) {
      schema.preserve_unknown = true;
    }
    const value* items = kube::FindPath(json, {"items"});
    if (items != nullptr) {
      schema.items = Parse(*items, path + ".items", depth + 1, true);
    } else if (schema.type == SchemaType::kArray) {
      causes_.push_back(RequiredField(path + ".items", "must be specified"));
      schema.items = &arena_.emplace_back();
    }
  }

  static std::optional<double> Number(const value& json, std::string_view name) {
    const value* found = kube::FindPath(json, {name});
    if (found == nullptr || !found->is_number()) return std::nullopt;
    return found->to_number<double>();
  }
  static std::optional<int64_t> Integer(const value& json, std::string_view name) {
    if (!Number(json, name)) return std::nullopt;
    return kube::IntAt(json, {name});
  }

  void ParseConstraints(const value& json, const std::string& path, int depth, Schema& schema) {
    auto all = std::make_unique<Constraints>();
    all->minimum = Number(json, "minimum");
    all->maximum = Number(json, "maximum");
    all->exclusive_minimum = kube::BoolAt(json, {"exclusiveMinimum"});
    all->exclusive_maximum = kube::BoolAt(json, {"exclusiveMaximum"});
    all->multiple_of = Number(json, "multipleOf");
    all->length_min = Integer(json, "minLength");
    all->length_max = Integer(json, "maxLength");
    all->items_min = Integer(json, "minItems");
    all->items_max = Integer(json, "maxItems");
    all->properties_min = Integer(json, "minProperties");
    all->properties_max = Integer(json, "maxProperties");
    all->unique_items = kube::BoolAt(json, {"uniqueItems"});
    all->pattern_text = kube::StringAt(json, {"pattern"});
    if (!all->pattern_text.empty()) {
      auto regex = Regex::Compile(all->pattern_text);
      if (regex.ok()) {
        all->pattern = *std::move(regex);
      } else {
        causes_.push_back(InvalidField(path + ".pattern", JsonText(all->pattern_text),
                                       std::string(regex.status().message())));
      }
    }
    if (const value* allowed = kube::FindPath(json, {"enum"}); allowed && allowed->is_array()) {
      all->enumeration.assign(allowed->get_array().begin(), allowed->get_array().end());
    }
    const auto list = [&](std::string_view name, std::vector<const Schema*>& into) {
      const value* found = kube::FindPath(json, {name});
      if (found == nullptr || !found->is_array()) return;
      for (size_t i = 0; i < found->get_array().size(); ++i) {
        into.push_back(
            Parse(found->get_array()[i], FieldPath(FieldPath(path, name), i), depth + 1, false));
      }
    };
    list("allOf", all->all_of);
    list("anyOf", all->any_of);
    list("oneOf", all->one_of);
    if (const value* found = kube::FindPath(json, {"not"})) {
      all->not_schema = Parse(*found, path + ".not", depth + 1, false);
    }
    schema.constraints = std::move(all);
  }

  void ParseRules(const value& json, const std::string& path, Schema& schema) {
    const value* rules = kube::FindPath(json, {"x-kubernetes-validations"});
    if (rules == nullptr || !rules->is_array()) return;
    for (size_t i = 0; i < rules->get_array().size(); ++i) {
      const value& one = rules->get_array()[i];
      const std::string at = FieldPath(path + ".x-kubernetes-validations", i);
      Constraints::Rule rule;
      rule.rule = kube::StringAt(one, {"rule"});
      rule.message = kube::StringAt(one, {"message"});
      rule.reason = kube::StringAt(one, {"reason"}, "FieldValueInvalid");
      rule.field_path = kube::StringAt(one, {"fieldPath"});
      if (kube::BoolAt(one, {"optionalOldSelf"})) {
        Refuse(at + ".optionalOldSelf", "optionalOldSelf is not supported");
      }
      rule.program = Compile(rule.rule, schema, at + ".rule");
      if (rule.program == nullptr) continue;
      rule.uses_old = rule.program->uses_old();
      const std::string_view expression = kube::StringAt(one, {"messageExpression"});
      if (!expression.empty()) {
        rule.message_program = Compile(expression, schema, at + ".messageExpression");
      }
      schema.constraints->rules.push_back(std::move(rule));
    }
  }

  std::shared_ptr<const cel::Program> Compile(std::string_view text, const Schema& schema,
                                              const std::string& path) {
    auto program = cel::Program::Compile(text, schema);
    if (program.ok()) return *std::move(program);
    causes_.push_back(InvalidField(
        path, JsonText(text),
        absl::StrFormat("compilation failed: %s", std::string(program.status().message()))));
    return nullptr;
  }

  // `structural`: it says what there is, rather than narrowing it.
  Schema* Parse(const value& json, const std::string& path, int depth, bool structural) {
    Schema& schema = arena_.emplace_back();
    if (depth > kDepthMax || !json.is_object()) {
      Refuse(path, "must be a schema object, not nested too deeply");
      return &schema;
    }
    if (json.get_object().contains("$ref")) Refuse(path + ".$ref", "$ref is not supported");
    ParseType(json, path, structural, schema);
    ParseExtensions(json, path, schema);
    ParseChildren(json, path, depth, schema);
    ParseConstraints(json, path, depth, schema);
    if (structural) ParseRules(json, path, schema);
    return &schema;
  }

  SchemaArena& arena_;
  std::vector<ErrorCause>& causes_;
};

}  // namespace

const Schema* ParseStructural(const value& json, const std::string& path, SchemaArena& arena,
                              std::vector<ErrorCause>& causes) {
  return Parser(arena, causes).Root(json, path);
}

}  // namespace local_cluster
