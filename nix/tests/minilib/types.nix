# Option types: `check` says whether one definition fits, `merge` makes one value of several.
{ lib }:
let
  inherit (builtins)
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    match
    tail
    ;
  inherit (lib) all concatMap head;

  type = description: check: merge: {
    _type = "option-type";
    inherit description check merge;
  };

  # Merges by having nothing to merge: all definitions must agree.
  scalar = description: check: type description check agree;
  agree =
    at: values:
    if all (value: value == head values) (tail values) then
      head values
    else
      throw "the option `${at}' has conflicting definitions: ${builtins.toJSON values}";

  isPackage = value: isAttrs value && value ? outPath;
  isStringLike = value: isString value || isPath value || isPackage value;

  names = sets: builtins.attrNames (builtins.foldl' (seen: set: seen // set) { } sets);

  types = {
    bool = scalar "boolean" isBool;
    float = scalar "floating point number" isFloat;
    int = scalar "integer" isInt;
    str = scalar "string" isString;
    package = scalar "package" isPackage;
    port = scalar "16 bit unsigned integer; between 0 and 65535 (both inclusive)" (
      value: isInt value && value >= 0 && value <= 65535
    );
    path = scalar "absolute path" (
      value: isStringLike value && builtins.substring 0 1 (toString value) == "/"
    );
    # Anything once; attribute sets are put together key by key.
    anything = type "anything" (_: true) (
      at: values:
      if all (value: isAttrs value && !isPackage value) values then
        (types.attrsOf types.anything).merge at values
      else
        agree at values
    );
    unspecified = types.anything;
    lines = type "strings concatenated with \"\\n\"" isString (_: builtins.concatStringsSep "\n");

    singleLineStr = scalar "(optionally newline-terminated) single-line string" (
      value: isString value && match "[^\n]*\n?" value != null
    );
    strMatching =
      pattern:
      scalar "string matching the pattern ${pattern}" (
        value: isString value && match pattern value != null
      );
    enum = values: scalar "one of ${builtins.toJSON values}" (value: builtins.elem value values);

    addCheck = base: check: base // { check = value: base.check value && check value; };

    nullOr =
      inner:
      type "null or ${inner.description}" (value: value == null || inner.check value) (
        at: values:
        if all (value: value == null) values then
          null
        else if builtins.elem null values then
          throw "the option `${at}' is defined both null and not null"
        else
          inner.merge at values
      );

    either =
      left: right:
      type "${left.description} or ${right.description}" (value: left.check value || right.check value) (
        at: values: if all left.check values then left.merge at values else right.merge at values
      );
    oneOf = alternatives: builtins.foldl' types.either (head alternatives) (tail alternatives);

    listOf =
      inner:
      type "list of ${inner.description}" isList (
        at: values:
        map (
          value:
          lib.merged "${at}.[item]" inner [
            {
              inherit value;
              priority = 100;
            }
          ]
        ) (concatMap (value: value) values)
      );

    attrsOf =
      inner:
      type "attribute set of ${inner.description}" (value: isAttrs value && !isPackage value) (
        at: values:
        builtins.listToAttrs (
          concatMap (
            name:
            let
              defined = concatMap (value: if value ? ${name} then lib.pushDown value.${name} else [ ]) values;
            in
            lib.optional (defined != [ ]) {
              inherit name;
              value = lib.merged "${at}.${name}" inner defined;
            }
          ) (names values)
        )
      );

    submodule =
      module:
      type "submodule" (value: isAttrs value || isFunction value) (
        at: values:
        (lib.evalModules {
          prefix = at;
          modules = [ module ] ++ values;
        }).config
      );
  };
in
types
