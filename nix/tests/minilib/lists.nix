# Functions on lists, attribute sets and strings, named and behaving as in nixpkgs' lib.
let
  inherit (builtins)
    all
    attrNames
    concatLists
    concatMap
    elem
    elemAt
    filter
    foldl'
    isAttrs
    isList
    length
    listToAttrs
    mapAttrs
    removeAttrs
    replaceStrings
    stringLength
    substring
    ;
in
rec {
  inherit
    all
    attrNames
    concatLists
    concatMap
    elem
    filter
    foldl'
    length
    listToAttrs
    mapAttrs
    removeAttrs
    ;
  inherit (builtins)
    any
    attrValues
    concatStringsSep
    hasAttr
    head
    isString
    toJSON
    ;

  last =
    list: if list == [ ] then throw "lib.last: the list is empty" else elemAt list (length list - 1);
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  optionalAttrs = condition: set: if condition then set else { };
  optionalString = condition: text: if condition then text else "";
  toList = value: if isList value then value else [ value ];
  unique = foldl' (seen: value: if elem value seen then seen else seen ++ [ value ]) [ ];

  nameValuePair = name: value: { inherit name value; };
  mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
  filterAttrsRecursive =
    keep: set:
    mapAttrs (_: value: if isAttrs value then filterAttrsRecursive keep value else value) (
      filterAttrs keep set
    );
  attrByPath =
    path: default: set:
    if path == [ ] then
      set
    else if isAttrs set && set ? ${builtins.head path} then
      attrByPath (builtins.tail path) default set.${builtins.head path}
    else
      default;

  splitString =
    separator: text: filter builtins.isString (builtins.split (escapeRegex separator) text);
  escapeRegex = replaceStrings (stringCharacters "\\[{()^$?*+|.") (
    map (character: "\\${character}") (stringCharacters "\\[{()^$?*+|.")
  );
  stringCharacters = text: builtins.genList (at: substring at 1 text) (stringLength text);
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      extra = stringLength text - stringLength suffix;
    in
    extra >= 0 && substring extra (stringLength suffix) text == suffix;
  concatStrings = builtins.concatStringsSep "";
  concatMapStrings = f: list: concatStrings (map f list);
  concatMapStringsSep =
    separator: f: list:
    builtins.concatStringsSep separator (map f list);
  boolToString = value: if value then "true" else "false";
  toInt =
    text:
    let
      digits = builtins.match "0*([0-9]+)" text;
    in
    if digits == null then
      throw "lib.toInt: '${text}' is not a number"
    else
      builtins.fromJSON (builtins.head digits);

  getExe = package: "${package}/bin/${package.meta.mainProgram}";
  literalExpression = text: { inherit text; };
}
