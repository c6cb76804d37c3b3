#include "local-cluster/apiserver/schema/openapi_schema.h"

#include <algorithm>

#include "boost/json.hpp"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

std::string Unescaped(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool line_break = text[i] == '\\' && i + 1 < text.size() && text[i + 1] == 'n';
    result += line_break ? '\n' : text[i];
    if (line_break) ++i;
  }
  return result;
}

object ScalarSchema(const Schema& schema) {
  switch (schema.type) {
    case SchemaType::kString:
      if (schema.format == "micro-time") return {{"type", "string"}, {"format", "date-time"}};
      if (schema.format.empty()) return {{"type", "string"}};
      return {{"type", "string"}, {"format", schema.format}};
    case SchemaType::kInteger:
      return {{"type", "integer"}, {"format", schema.format}};
    case SchemaType::kNumber:
      return {{"type", "number"}, {"format", "double"}};
    case SchemaType::kBoolean:
      return {{"type", "boolean"}};
    case SchemaType::kIntOrString:
      return {{"format", "int-or-string"},
              {"oneOf", array{object{{"type", "integer"}}, object{{"type", "string"}}}}};
    case SchemaType::kQuantity:
      return {{"oneOf", array{object{{"type", "string"}}, object{{"type", "number"}}}}};
    default:
      return schema.format.empty() || schema.format == "json" ? object()
                                                              : object{{"type", "object"}};
  }
}

void AddListRules(object& json, const Property& property) {
  const Schema& schema = *property.schema;
  if (!property.merge_key.empty()) json["x-kubernetes-patch-merge-key"] = property.merge_key;
  if (property.merge_list || property.retain_keys) {
    std::string strategy = property.merge_list ? "merge" : "";
    if (property.retain_keys) strategy += strategy.empty() ? "retainKeys" : ",retainKeys";
    json["x-kubernetes-patch-strategy"] = strategy;
  }
  if (property.map_atomic) json["x-kubernetes-map-type"] = "atomic";
  if (schema.type != SchemaType::kArray) return;
  if (schema.list_type == ListType::kSet) json["x-kubernetes-list-type"] = "set";
  if (schema.list_type == ListType::kMap) {
    array keys;
    for (const std::string& key : schema.list_map_keys) keys.emplace_back(key);
    json["x-kubernetes-list-type"] = "map";
    json["x-kubernetes-list-map-keys"] = std::move(keys);
  }
  if (schema.list_type == ListType::kAtomic) json["x-kubernetes-list-type"] = "atomic";
}

}  // namespace

void OpenApiSchemas::Add(const Schema& type, const array& kinds) {
  waiting_.push_back(&type);
  while (!waiting_.empty()) {
    const Schema* next = waiting_.back();
    waiting_.pop_back();
    auto found =
        std::ranges::find_if(done_, [&](const auto& one) { return one.first == next->type_name; });
    if (found == done_.end()) {
      done_.emplace_back(next->type_name, nullptr);
      const size_t index = done_.size() - 1;
      value json = Describe(*next);
      done_[index].second = std::move(json);
      found = done_.begin() + static_cast<std::ptrdiff_t>(index);
    }
    if (next == &type && !kinds.empty() && found->second.is_object()) {
      found->second.get_object()["x-kubernetes-group-version-kind"] = kinds;
    }
  }
}

std::vector<std::pair<std::string, value>> OpenApiSchemas::Take() {
  std::ranges::sort(done_, {}, [](const auto& one) { return one.first; });
  return std::move(done_);
}

object OpenApiSchemas::FieldSchema(const Schema& schema, const std::string& key) {
  object json;
  if (!schema.type_name.empty()) {
    const bool known =
        std::ranges::any_of(done_, [&](const auto& one) { return one.first == schema.type_name; });
    if (!known) waiting_.push_back(&schema);
    object reference{{"$ref", "#/components/schemas/" + schema.type_name}};
    json["allOf"] = array{std::move(reference)};
    json["default"] = object();
  } else if (schema.type == SchemaType::kArray) {
    json = {{"type", "array"}, {"items", FieldSchema(*schema.items, "")}};
  } else if (schema.type == SchemaType::kObject) {
    json = {{"type", "object"}};
    if (schema.additional != nullptr) {
      json["additionalProperties"] = FieldSchema(*schema.additional, "");
    }
  } else {
    json = ScalarSchema(schema);
  }
  if (!key.empty()) {
    const std::string_view description = descriptions_.Find(key);
    if (!description.empty()) json["description"] = Unescaped(description);
  }
  return json;
}

object OpenApiSchemas::Describe(const Schema& type) {
  object properties;
  array required;
  for (const Property& property : type.properties) {
    object field = FieldSchema(*property.schema, type.type_name + "." + property.name);
    AddListRules(field, property);
    properties[property.name] = std::move(field);
    if (property.required) required.emplace_back(property.name);
  }
  object json{{"type", "object"}};
  const std::string_view description = descriptions_.Find(type.type_name);
  if (!description.empty()) json["description"] = Unescaped(description);
  if (!properties.empty()) json["properties"] = std::move(properties);
  if (!required.empty()) json["required"] = std::move(required);
  if (type.map_atomic) json["x-kubernetes-map-type"] = "atomic";
  return json;
}

}  // namespace local_cluster
