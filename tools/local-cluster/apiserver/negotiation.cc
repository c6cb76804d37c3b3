#include "local-cluster/apiserver/negotiation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/apiserver/schema/errors.h"
#include "local-cluster/apiserver/schema/protobuf.h"

namespace local_cluster {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view Next(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return Trim(part);
}

}  // namespace

std::vector<MediaRange> ParseAccept(const net::Request& request) {
  std::vector<MediaRange> ranges;
  for (std::string_view header : request.headers.FindAll("Accept")) {
    while (!header.empty() && ranges.size() < 32) {
      std::string_view part = Next(header, ',');
      MediaRange range;
      range.type = Lower(Next(part, ';'));
      while (!part.empty()) {
        std::string_view parameter = Next(part, ';');
        const std::string name = Lower(Next(parameter, '='));
        if (name == "g") range.group = parameter;
        if (name == "v") range.version = parameter;
        if (name == "as") range.as = parameter;
      }
      ranges.push_back(std::move(range));
    }
  }
  if (ranges.empty()) ranges.push_back({"*/*", "", "", ""});
  return ranges;
}

absl::StatusOr<Negotiated> Negotiate(const net::Request& request) {
  for (const MediaRange& range : ParseAccept(request)) {
    if (range.type != "application/json" && range.type != "*/*" && range.type != "application/*") {
      continue;
    }
    Negotiated result;
    if (range.as.empty()) return result;
    if (range.group != "meta.k8s.io" || (range.version != "v1" && range.version != "v1beta1")) {
      continue;
    }
    if (range.as == "Table") {
      result.form = AnswerForm::kTable;
      if (const auto include = net::QueryParameter(request.query(), "includeObject")) {
        result.include_object = *include;
      }
      return result;
    }
    if (range.as == "PartialObjectMetadata" || range.as == "PartialObjectMetadataList") {
      result.form = AnswerForm::kPartialMetadata;
      return result;
    }
  }
  return NotAcceptableError("application/json, application/yaml");
}

std::string ContentType(const net::Request& request) {
  std::string_view header = request.headers.Find("Content-Type").value_or("");
  return Lower(Next(header, ';'));
}

absl::StatusOr<boost::json::value> ParseBody(const net::Request& request) {
  if (request.body.empty()) return boost::json::value();
  const std::string type = ContentType(request);
  if (type == "application/yaml" || type == "application/apply-patch+yaml") {
    ASSIGN_OR_RETURN(std::vector<boost::json::value> documents, kube::ParseYaml(request.body));
    if (documents.size() != 1) return BadRequestError("the body must be one YAML document");
    return std::move(documents.front());
  }
  if (type == "application/vnd.kubernetes.protobuf") return DecodeProtobuf(request.body);
  if (type.empty() || type == "*/*" || type == "application/json" || type.ends_with("+json")) {
    return kube::ParseJson(request.body);
  }
  return UnsupportedMediaTypeError(
      absl::StrFormat("the body of the request was in an unknown format - accepted media types "
                      "include: application/json, application/yaml; got %s",
                      type));
}

net::Response JsonResponse(int status, std::string body) {
  net::Response response;
  response.status = status;
  response.headers.Add("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

}  // namespace local_cluster
