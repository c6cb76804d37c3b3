#include "local-cluster/apiserver/table.h"

#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "local-cluster/apiserver/json_path.h"
#include "local-cluster/apiserver/printers.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

const std::vector<Column>& DefaultColumns() {
  static const auto* const columns = new std::vector<Column>{
      {"Age", "date", "",
       "CreationTimestamp is a timestamp representing the server time when this object was "
       "created.",
       0, ".metadata.creationTimestamp"}};
  return *columns;
}

object ColumnJson(const Column& column) {
  return {{"name", column.name},
          {"type", column.type},
          {"format", column.format},
          {"description", column.description},
          {"priority", column.priority}};
}

// A value as its column's type; null where it is of another one.
value CellOf(const Column& column, const value& found, absl::Time now) {
  if (column.type == "string") {
    if (found.is_string()) return found;
    return JsonText(boost::json::serialize(found));
  }
  if (column.type == "integer") {
    if (found.is_int64()) return found;
    if (found.is_double()) return static_cast<int64_t>(found.get_double());
    return nullptr;
  }
  if (column.type == "number") return found.is_number() ? found : value();
  if (column.type == "boolean") return found.is_bool() ? found : value();
  if (column.type == "date" && found.is_string()) {
    const boost::json::string& text = found.get_string();
    const std::optional<absl::Time> time = kube::ParseTime({text.data(), text.size()});
    if (!time) return "<unknown>";
    return JsonText(HumanDuration(now - *time));
  }
  return nullptr;
}

}  // namespace

array TableColumns(const Kind& kind, const KindVersion& version) {
  if (!kind.custom) return BuiltinColumns(kind);
  array columns;
  columns.push_back(ColumnJson({"Name", "string", "name",
                                "Name must be unique within a namespace. Is required when creating "
                                "resources, although some resources may allow a client to request "
                                "the generation of an appropriate name automatically.",
                                0, ""}));
  const auto& declared = version.columns.empty() ? DefaultColumns() : version.columns;
  for (const Column& column : declared) columns.push_back(ColumnJson(column));
  return columns;
}

array TableCells(const Kind& kind, const KindVersion& version, const value& whole, absl::Time now) {
  if (!kind.custom) return BuiltinCells(kind, whole, now);
  array cells{kube::StringAt(whole, {"metadata", "name"})};
  const auto& declared = version.columns.empty() ? DefaultColumns() : version.columns;
  for (const Column& column : declared) {
    const absl::StatusOr<JsonPath> path = JsonPath::Parse(column.json_path);
    const value* found = path.ok() ? path->FindFirst(whole) : nullptr;
    cells.push_back(found == nullptr || found->is_null() ? value() : CellOf(column, *found, now));
  }
  return cells;
}

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return absl::StrFormat("%ds", seconds);
  const int64_t minutes = seconds / 60;
  if (minutes < 10) {
    return seconds % 60 == 0 ? absl::StrFormat("%dm", minutes)
                             : absl::StrFormat("%dm%ds", minutes, seconds % 60);
  }
  if (minutes < 180) return absl::StrFormat("%dm", minutes);
  const int64_t hours = minutes / 60;
  if (hours < 8) {
    return minutes % 60 == 0 ? absl::StrFormat("%dh", hours)
                             : absl::StrFormat("%dh%dm", hours, minutes % 60);
  }
  if (hours < 48) return absl::StrFormat("%dh", hours);
  const int64_t days = hours / 24;
  if (hours < 192) {
    return hours % 24 == 0 ? absl::StrFormat("%dd", days)
                           : absl::StrFormat("%dd%dh", days, hours % 24);
  }
  if (days < 730) return absl::StrFormat("%dd", days);
  if (days < 2920 && days % 365 != 0) {
    return absl::StrFormat("%dy%dd", days / 365, days % 365);
  }
  return absl::StrFormat("%dy", days / 365);
}

}  // namespace local_cluster
