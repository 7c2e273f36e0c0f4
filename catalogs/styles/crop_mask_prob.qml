<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" nodataColor="" classificationMin="0" classificationMax="100">
      <rasterTransparency />
      <rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" minimumValue="0" maximumValue="100">
          <item value="0" color="#000000" alpha="255" label="0" />
          <item value="10" color="#170b3b" alpha="255" label="10" />
          <item value="20" color="#410967" alpha="255" label="20" />
          <item value="30" color="#6b176e" alpha="255" label="30" />
          <item value="40" color="#952666" alpha="255" label="40" />
          <item value="50" color="#bb3754" alpha="255" label="50" />
          <item value="60" color="#dd5238" alpha="255" label="60" />
          <item value="70" color="#f37719" alpha="255" label="70" />
          <item value="80" color="#fba60b" alpha="255" label="80" />
          <item value="90" color="#f5d948" alpha="255" label="90" />
          <item value="100" color="#fcfea4" alpha="255" label="100" />
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1" />
    <huesaturation saturation="0" colorizeOn="0" grayscaleMode="0" />
    <rasterresampler maxOversampling="2" />
  </pipe>
  <blendMode>0</blendMode>
</qgis>
