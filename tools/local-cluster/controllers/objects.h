// What the loops ask of Pods and of objects with pod templates.

#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/kube/object.h"

namespace local_cluster {

// The array at `path`; an empty one where there is none.
const boost::json::array& ArrayAt(const boost::json::value& value,
                                  std::initializer_list<std::string_view> path);

// A Service's selector: all of its labels. Null matches nothing.
bool MatchesLabels(const boost::json::value* wanted,
                   const std::map<std::string, std::string>& labels);

// metav1.LabelSelector: matchLabels and matchExpressions. A selector that is null matches nothing,
// an empty one everything.
bool MatchesSelector(const boost::json::value* selector,
                     const std::map<std::string, std::string>& labels);

// "a=b,c in (d,e)" for a list call; from a metav1.LabelSelector.
std::string SelectorText(const boost::json::value* selector);

// One of In, NotIn, Exists, DoesNotExist, Gt, Lt on a set of labels.
bool MatchesExpression(const boost::json::value& expression,
                       const std::map<std::string, std::string>& labels);

bool IsPodReady(const kube::Object& pod);
bool IsPodFinished(const kube::Object& pod);  // Succeeded or Failed.
bool IsPodRunningAndReady(const kube::Object& pod);
bool IsControlledBy(const kube::Object& object, std::string_view uid);

// A Pod from `owner`'s spec.template: its labels and annotations, the owner as controller, in its
// namespace.
kube::Object PodFromTemplate(const kube::Object& owner, const boost::json::value& pod_template,
                             std::string_view name);

// Ten characters for any JSON, as in names of revisions: equal templates have equal hashes.
std::string TemplateHash(const boost::json::value& value);

// Five characters for a generated name.
std::string RandomSuffix();

}  // namespace local_cluster
