# `evalModules`: options, definitions with conditions and priorities, free-form types, imports.
{ lib }:
let
  inherit (builtins)
    attrNames
    foldl'
    isAttrs
    isFunction
    isPath
    isString
    listToAttrs
    removeAttrs
    ;
  inherit (lib)
    concatMap
    filter
    mapAttrs
    optional
    ;

  tagged = tag: value: isAttrs value && (value._type or null) == tag;

  priorities = {
    optionDefault = 1500;
    default = 1000;
    plain = 100;
    force = 50;
  };

  # One definition to the plain values in it, each with its priority.
  pushDown =
    definition:
    if tagged "if" definition then
      if definition.condition then pushDown definition.content else [ ]
    else if tagged "merge" definition then
      concatMap pushDown definition.contents
    else if tagged "override" definition then
      map (inner: inner // { inherit (definition) priority; }) (pushDown definition.content)
    else
      [
        {
          value = definition;
          priority = priorities.plain;
        }
      ];

  # Moves a condition or a priority from an attribute set into its values: the set's names must be known without
  # asking the condition, because the condition may ask for other options.
  pushIntoNames =
    definition:
    let
      into = wrap: map (mapAttrs (_: wrap)) (pushIntoNames (definition.content));
    in
    if tagged "if" definition then
      into (content: mkIf definition.condition content)
    else if tagged "override" definition then
      into (content: mkOverride definition.priority content)
    else if tagged "merge" definition then
      concatMap pushIntoNames definition.contents
    else
      [ definition ];

  # The definitions of the strongest priority, checked and made into one value.
  merged =
    at: type: defined:
    let
      strongest = foldl' (best: one: if one.priority < best then one.priority else best) 9999 defined;
      values = map (one: one.value) (filter (one: one.priority == strongest) defined);
      wrong = filter (value: !type.check value) values;
    in
    if defined == [ ] then
      throw "the option `${at}' is used but not defined"
    else if wrong != [ ] then
      throw "a definition for option `${at}' is not of type `${type.description}'"
    else
      type.merge at values;

  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };

  structural = [
    "config"
    "options"
    "imports"
    "freeformType"
    "_class"
    "_file"
  ];

  # A module and what it imports, with every one in its long form.
  collect =
    arguments: module:
    let
      loaded = if isPath module || isString module then import module else module;
      body = if isFunction loaded then loaded arguments else loaded;
      isLong = body ? config || body ? options;
      short = removeAttrs body structural;
      long =
        if isLong && short != { } then
          throw "a module with `config' or `options' has definitions beside them: ${toString (attrNames short)}"
        else
          {
            options = body.options or { };
            config = if isLong then body.config or { } else short;
            freeformType = body.freeformType or null;
          };
    in
    concatMap (collect arguments) (body.imports or [ ]) ++ [ long ];

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? "",
    }:
    let
      arguments = specialArgs // {
        inherit lib config options;
      };
      collected = concatMap (collect arguments) modules;
      freeform = foldl' (
        found: module: if module.freeformType == null then found else module.freeformType
      ) null collected;
      options = foldl' declare { } (map (module: module.options) collected);
      config = values prefix freeform options (map (module: module.config) collected);
    in
    {
      inherit config options;
    };

  # Options of several modules in one tree; each may be declared once.
  declare =
    left: right:
    left
    // mapAttrs (
      name: option:
      if !(left ? ${name}) then
        option
      else if tagged "option" option || tagged "option" left.${name} then
        throw "the option `${name}' is declared twice"
      else
        declare left.${name} option
    ) right;

  values =
    at: freeform: options: definitions:
    let
      sets = concatMap pushIntoNames definitions;
      here = name: if at == "" then name else "${at}.${name}";
      of = name: concatMap (set: optional (set ? ${name}) set.${name}) sets;
      # A false condition does not excuse a name that does not exist, as in nixpkgs.
      unknown = filter (name: !(options ? ${name})) (
        attrNames (foldl' (seen: set: seen // set) { } sets)
      );
      free =
        if freeform != null then
          freeform.merge at (map (set: removeAttrs set (attrNames options)) sets)
        else if unknown != [ ] then
          throw "the option `${here (builtins.head unknown)}' does not exist"
        else
          { };
      declared = listToAttrs (
        map (name: {
          inherit name;
          value =
            if tagged "option" options.${name} then
              option (here name) options.${name} (of name)
            else
              values (here name) null options.${name} (of name);
        }) (attrNames options)
      );
    in
    if freeform == null then builtins.seq free declared else free // declared;

  option =
    at: declaration: defined:
    let
      fallback = optional (declaration ? default) {
        value = declaration.default;
        priority = priorities.optionDefault;
      };
      value = merged at declaration.type (concatMap pushDown defined ++ fallback);
    in
    if declaration ? apply then declaration.apply value else value;
in
{
  inherit evalModules;

  definitions = {
    inherit
      merged
      mkIf
      mkOverride
      pushDown
      ;
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkDefault = mkOverride priorities.default;
    mkForce = mkOverride priorities.force;

    mkOption =
      declaration@{ type, ... }:
      assert tagged "option-type" type;
      declaration // { _type = "option"; };
    mkEnableOption =
      what:
      lib.mkOption {
        type = lib.types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
  };
}
