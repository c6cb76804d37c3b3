#include "local-cluster/apiserver/encoder.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/apiserver/object_form.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/table.h"

namespace local_cluster {
namespace {

using boost::json::object;
using boost::json::value;

object PartialMetadata(const value& whole) {
  object partial{{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
  if (const value* metadata = kube::FindPath(whole, {"metadata"})) partial["metadata"] = *metadata;
  return partial;
}

object ListMetadata(const Encoder::ListHeader& header) {
  object metadata{{"resourceVersion", std::to_string(header.revision)}};
  if (!header.continue_token.empty()) metadata["continue"] = header.continue_token;
  if (header.remaining) metadata["remainingItemCount"] = *header.remaining;
  return metadata;
}

}  // namespace

Encoder::Encoder(std::shared_ptr<const Kind> kind, const KindVersion& version,
                 Negotiated negotiated, const base::Clock& clock)
    : kind_(std::move(kind)),
      version_(version),
      negotiated_(std::move(negotiated)),
      clock_(clock),
      api_version_(kind_->group.empty() ? version.name : kind_->group + "/" + version.name) {
  identity_ = absl::StrFormat("%s %s %d %s", api_version_, kind_->plural,
                              static_cast<int>(negotiated_.form), negotiated_.include_object);
}

std::string Encoder::Object(const SharedJson& stored, bool with_columns) const {
  const SharedJson shown = ToVersion(*kind_, version_, stored);
  switch (negotiated_.form) {
    case AnswerForm::kTable: {
      ListHeader header;
      const std::string version(kube::StringAt(*shown, {"metadata", "resourceVersion"}, "0"));
      header.revision = std::strtoull(version.c_str(), nullptr, 10);
      return TableOf({{stored, 0}}, header, with_columns);
    }
    case AnswerForm::kPartialMetadata:
      return boost::json::serialize(PartialMetadata(*shown));
    case AnswerForm::kObject:
      break;
  }
  return boost::json::serialize(*shown);
}

std::string Encoder::List(const std::vector<StoredObject>& items, const ListHeader& header) const {
  if (negotiated_.form == AnswerForm::kTable) return TableOf(items, header, true);
  const bool partial = negotiated_.form == AnswerForm::kPartialMetadata;
  object top{{"kind", partial ? std::string("PartialObjectMetadataList") : kind_->list_kind()},
             {"apiVersion", partial ? std::string("meta.k8s.io/v1") : api_version_},
             {"metadata", ListMetadata(header)}};
  std::string text = boost::json::serialize(top);
  text.pop_back();
  text += ",\"items\":[";
  bool first = true;
  for (const StoredObject& item : items) {
    if (!first) text += ',';
    first = false;
    text += Object(item.value);
  }
  text += "]}\n";
  return text;
}

boost::json::value Encoder::Row(const value& shown) const {
  object row{{"cells", TableCells(*kind_, version_, shown, clock_.Now())}};
  if (negotiated_.include_object == "Object") {
    row["object"] = shown;
  } else if (negotiated_.include_object != "None") {
    row["object"] = PartialMetadata(shown);
  }
  return row;
}

std::string Encoder::TableOf(const std::vector<StoredObject>& items, const ListHeader& header,
                             bool with_columns) const {
  object table{{"kind", "Table"},
               {"apiVersion", "meta.k8s.io/v1"},
               {"metadata", ListMetadata(header)},
               {"columnDefinitions", boost::json::value()}};
  if (with_columns) table["columnDefinitions"] = TableColumns(*kind_, version_);
  boost::json::array& rows = table["rows"].emplace_array();
  for (const StoredObject& item : items) {
    rows.push_back(Row(*ToVersion(*kind_, version_, item.value)));
  }
  return boost::json::serialize(table);
}

std::string Encoder::Bookmark(uint64_t revision, bool initial_events_end) const {
  object metadata{{"resourceVersion", std::to_string(revision)},
                  {"creationTimestamp", boost::json::value()}};
  if (initial_events_end) {
    metadata["annotations"] = object{{"k8s.io/initial-events-end", "true"}};
  }
  object bookmark{
      {"kind", kind_->kind}, {"apiVersion", api_version_}, {"metadata", std::move(metadata)}};
  if (negotiated_.form == AnswerForm::kPartialMetadata) {
    bookmark["kind"] = "PartialObjectMetadata";
    bookmark["apiVersion"] = "meta.k8s.io/v1";
  }
  if (negotiated_.form != AnswerForm::kTable) return boost::json::serialize(bookmark);
  object table{{"kind", "Table"},
               {"apiVersion", "meta.k8s.io/v1"},
               {"metadata", object{{"resourceVersion", std::to_string(revision)}}},
               {"columnDefinitions", boost::json::value()}};
  object row{{"cells", boost::json::array(TableColumns(*kind_, version_).size())},
             {"object", std::move(bookmark)}};
  table["rows"] = boost::json::array{std::move(row)};
  return boost::json::serialize(table);
}

}  // namespace local_cluster
